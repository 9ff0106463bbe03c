/**
 * One laboratory world per peer: a client, a host with a bridge, and a container on that bridge, each a network
 * namespace. Peers never share one, so nobody pays for another's rules, conntrack entries or TIME_WAIT sockets, and all
 * start from the same wires.
 *
 *   client 198.51.100.2 ── veth ── 198.51.100.1 host 172.30.0.1 (br0) ── veth ── 172.30.0.2 container
 *
 * Congestion control is loss-based, as Debian's default is: bbr paces every socket by a timer, and on veth pairs, where
 * nothing is ever lost, one would measure the timers (18 instead of 31 Gbit/s without anything in between). Every kernel
 * has reno, and lets any namespace choose it.
 *
 * Port ranges are widened and TIME_WAIT ports reusable after a second in all three: connection rates are then bound by
 * the path and not by the 28,000 ports of the default range.
 */
import { basename } from 'node:path'
import { type Netns, run } from './process.ts'

export interface World {
  readonly name: string
  readonly client: Netns
  readonly host: Netns
  readonly container: Netns
  /** Address and port of a service inside the container, as reached from the host. */
  readonly target: { readonly 4: string; readonly 6: string }
}

export const HOST = { 4: '198.51.100.1', 6: '2001:db8::1' } as const
const CLIENT = { 4: '198.51.100.2', 6: '2001:db8::2' } as const
const GATEWAY = { 4: '172.30.0.1', 6: 'fd00:30::1' } as const
const CONTAINER = { 4: '172.30.0.2', 6: 'fd00:30::2' } as const

const namespace = async (name: string): Promise<Netns> => {
  const netns = { path: `/run/netns/${name}` }
  await run(null, ['ip', 'netns', 'add', name])
  await run(netns, ['ip', 'link', 'set', 'lo', 'up'])
  await tune(netns)
  return netns
}

export const tune = async (netns: Netns): Promise<void> => {
  await run(netns, [
    'sysctl',
    '-qw',
    'net.ipv4.ip_local_port_range=1024 65535',
    'net.ipv4.tcp_tw_reuse=1',
    'net.ipv4.tcp_max_tw_buckets=262144',
    'net.ipv4.tcp_congestion_control=reno',
  ])
}

/** Client and host only: the container is the business of the peer. */
export const outside = async (name: string): Promise<{ readonly client: Netns; readonly host: Netns }> => {
  const client = await namespace(`${name}.client`)
  const host = await namespace(`${name}.host`)
  await batch(null, [`link add lan0 netns ${name}.host type veth peer name eth0 netns ${name}.client`])
  await batch(client, [...addresses('eth0', CLIENT, 24), 'link set eth0 up'])
  await batch(host, [...addresses('lan0', HOST, 24), 'link set lan0 up'])
  await batch(client, [`route add default via ${HOST[4]}`, `route add default via ${HOST[6]}`])
  return { client, host }
}

export const makeWorld = async (name: string): Promise<World> => {
  const { client, host } = await outside(name)
  const container = await namespace(`${name}.container`)
  await batch(host, [
    'link add br0 type bridge',
    `link add c0 type veth peer name eth0 netns ${name}.container`,
    'link set c0 master br0 up',
    ...addresses('br0', GATEWAY, 16),
    'link set br0 up',
  ])
  await batch(container, [...addresses('eth0', CONTAINER, 16), 'link set eth0 up'])
  await batch(container, [`route add default via ${GATEWAY[4]}`, `route add default via ${GATEWAY[6]}`])
  return { name, client, host, container, target: CONTAINER }
}

const end = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself meanwhile.
  }
}

/** Ends everything that runs in a world, and leaves nothing of it but its name. */
export const leaveWorld = async ({ client, host, container }: World): Promise<void> => {
  const names = [client, host, container].map(({ path }) => basename(path))
  const pids = await Promise.all(names.map(name => run(null, ['ip', 'netns', 'pids', name])))
  for (const pid of pids
    .join('\n')
    .split('\n')
    .filter(line => line !== ''))
    end(Number(pid))
  for (const name of names) await run(null, ['ip', 'netns', 'del', name])
}

/** What a router needs; proxies do without. */
export const forwarding = async ({ host }: { readonly host: Netns }): Promise<void> => {
  await run(host, ['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
}

const addresses = (device: string, of: { 4: string; 6: string }, prefix4: number): string[] => [
  `address add ${of[4]}/${prefix4} dev ${device}`,
  `address add ${of[6]}/64 dev ${device} nodad`,
]

const batch = (netns: Netns | null, lines: readonly string[]): Promise<string> =>
  run(netns, ['ip', '-batch', '-'], { input: lines.join('\n') })
