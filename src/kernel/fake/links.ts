/** Links in memory: bridges, veths and their addresses; what is inside a container's namespace is not kept. */
import { basename } from 'node:path'
import { cidrOf, parseInterfaceAddress } from '../../core/address.ts'
import { PortctlError } from '../../core/errors.ts'
import type { Link, Links } from '../link.ts'
import type { Netns } from '../netns.ts'
import type { FakeSysctl } from './sysctl.ts'

interface Entry extends Link {
  readonly addresses: readonly string[]
}

/** Settings that come and go with a link. */
const settingsOf = (name: string): readonly string[] => [
  `net/ipv4/conf/${name}/forwarding`,
  `net/ipv4/conf/${name}/route_localnet`,
  `net/ipv6/conf/${name}/accept_ra`,
  `net/ipv6/conf/${name}/force_forwarding`,
]

export const createFakeLinks = (netns: Netns, sysctl: FakeSysctl): Links => {
  const links = new Map<string, Entry>()
  let index = 1

  const add = (entry: Omit<Entry, 'index' | 'up'>): void => {
    links.set(entry.name, { ...entry, index: ++index, up: true })
    for (const key of settingsOf(entry.name)) sysctl.values.set(key, '0')
  }
  const refuse = (command: string, why: string): PortctlError =>
    PortctlError.of('ip-failed', { command, why })
  const mustBeNew = (name: string): void => {
    if (links.has(name)) throw refuse(`link add name ${name}`, 'RTNETLINK answers: File exists')
  }
  const parsed = () =>
    [...links.values()].flatMap(({ name, addresses }) =>
      addresses.map(address => ({ interfaceName: name, ...parseInterfaceAddress(address) })),
    )

  return {
    createBridge: async ({ name, owner, mac, addresses }) => {
      mustBeNew(name)
      add({ name, kind: 'bridge', mac, bridge: null, owner, addresses })
    },
    createVeth: async ({ name, owner, bridge, netns: path }) => {
      mustBeNew(name)
      if (!(await netns.list()).includes(basename(path)))
        throw refuse(`link add name ${name}`, `Invalid "netns" value "${path}"`)
      if (links.get(bridge)?.kind !== 'bridge')
        throw refuse(`link set dev ${name} master ${bridge}`, 'Device does not exist')
      add({ name, kind: 'veth', mac: null, bridge, owner, addresses: [] })
    },
    remove: async name => {
      for (const link of links.values())
        if (link.bridge === name) links.set(link.name, { ...link, bridge: null })
      for (const key of settingsOf(name)) sysctl.values.delete(key)
      return links.delete(name)
    },
    list: async () => [...links.values()].map(({ addresses: _, ...link }) => link),
    addresses: async () => parsed(),
    occupied: async () => parsed().map(({ address, prefix }) => cidrOf(address, prefix)),
  }
}
