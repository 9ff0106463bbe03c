/** What the container tests share: views as the command line prints them, and further machines around the host. */
import type { Lab, Machine } from '../lab/lab.ts'
import { createInstance, type Instance, type InstanceOptions } from '../lab/portctl.ts'

export interface Place {
  readonly ipv4: string
  readonly ipv6: string | null
  readonly mac: string
  readonly gateway: string
}

export interface ContainerRow {
  readonly name: string
  readonly id: string
  readonly pid: number | null
  readonly netns: string
  readonly status: string
  readonly networks: Readonly<Record<string, Place>>
  readonly ports: readonly string[]
}

export const bare = (cidr: string | null | undefined): string => (cidr ?? '').replace(/\/.*/, '')

export const rowOf = async (portctl: Instance, name: string): Promise<ContainerRow | undefined> =>
  (await portctl.json<ContainerRow[]>('ps')).find(row => row.name === name)

/** Its place on the default network. */
export const placeOf = async (portctl: Instance, name: string): Promise<Place> => {
  const place = (await rowOf(portctl, name))?.networks.bridge
  if (place === undefined) throw new Error(`${name} is on no network`)
  return place
}

/** A container in the background that sleeps, or runs the command given; gives its name. */
export const startContainer = async (
  portctl: Instance,
  label: string,
  options: readonly string[] = [],
  command: readonly string[] = ['sleep', '600'],
): Promise<string> => {
  const name = portctl.name(label)
  await portctl.ok('run', '-d', '--name', name, ...options, '--', ...command)
  return name
}

export const startedInstance = async (lab: Lab, options: InstanceOptions = {}): Promise<Instance> => {
  const instance = await createInstance(lab, lab.host, options)
  await instance.start()
  return instance
}

/**
 * A machine on a link of its own to the host: `uplink` there, `eth0` here, its default route the host. It is as far
 * from `lan` as a machine on another network: only a router joins them.
 */
export const attachBeyond = async (lab: Lab, uplink = 'uplink2', net = 113): Promise<Machine> => {
  const name = await lab.namespace(`beyond-${uplink}`)
  const machine = (number: number) => ({ ipv4: `203.0.${net}.${number}`, ipv6: `2001:db8:${net}::${number}` })
  const [near, far] = [machine(1), machine(2)]
  await lab.sh(lab.host, 'ip', 'link', 'add', uplink, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
  for (const [where, device, { ipv4, ipv6 }] of [
    [lab.host, uplink, near],
    [name, 'eth0', far],
  ] as const) {
    await lab.sh(where, 'ip', 'addr', 'add', `${ipv4}/24`, 'dev', device)
    await lab.sh(where, 'ip', 'addr', 'add', `${ipv6}/64`, 'dev', device, 'nodad')
    await lab.sh(where, 'ip', 'link', 'set', device, 'up')
  }
  await lab.sh(name, 'ip', 'route', 'add', 'default', 'via', near.ipv4)
  await lab.sh(name, 'ip', 'route', 'add', '::/0', 'via', near.ipv6)
  return { ...far, name, path: `/run/netns/${name}`, ipv4b: far.ipv4, ipv6b: far.ipv6 }
}

export const sysctl = async (lab: Lab, ...keys: readonly string[]): Promise<readonly string[]> =>
  (await lab.sh(lab.host, 'sysctl', '-n', ...keys)).trimEnd().split('\n')
