/**
 * Links of this namespace: bridges, and veth pairs whose other end is a container's `eth0`.
 *
 * Every link made here carries `portctl:OWNER` as its alias, so that leftovers of a killed daemon are told from other
 * people's links. Creation is all or nothing: a link that can't be finished is deleted again. Deleting the host end of
 * a veth pair deletes both.
 */
import { type Cidr, cidrOf, familyOf, parseInterfaceAddress } from '../core/address.ts'
import { type IpCommand, ipBatch, ipJson } from './ip.ts'
import { type Execute, inNetns, execute as onHost, succeed } from './process.ts'
import { hostSysctl, type Sysctl } from './sysctl.ts'

const ALIAS = 'portctl:'

export interface BridgeSpec {
  readonly name: string
  readonly owner: string
  /** Given, so that the bridge does not take (and change) its ports' lowest one. */
  readonly mac: string
  /** CIDR form, host bits kept: the gateway addresses. */
  readonly addresses: readonly string[]
}

export interface VethSpec {
  /** Host end, at most 15 bytes. */
  readonly name: string
  readonly owner: string
  readonly bridge: string
  /** Path of the container's namespace. */
  readonly netns: string
  /** Container end. */
  readonly peer: string
  readonly mac: string
  /** CIDR form. */
  readonly addresses: readonly string[]
  /** Default routes, at most one of each family. */
  readonly gateways: readonly string[]
}

export interface Link {
  readonly name: string
  readonly index: number
  readonly kind: string | null
  readonly mac: string | null
  readonly up: boolean
  readonly bridge: string | null
  /** Owner given at creation; null for links that are not ours. */
  readonly owner: string | null
}

interface LinkAddress {
  readonly interfaceName: string
  readonly address: string
  readonly prefix: number
}

export interface Links {
  createBridge(spec: BridgeSpec): Promise<void>
  createVeth(spec: VethSpec): Promise<void>
  /** False when there is no such link. */
  remove(name: string): Promise<boolean>
  list(): Promise<readonly Link[]>
  addresses(): Promise<readonly LinkAddress[]>
  /** Networks that an address or a route of any table leads to, default routes (and halves) left out: not free for a pool. */
  occupied(): Promise<readonly Cidr[]>
}

interface RawLink {
  readonly ifname: string
  readonly ifindex: number
  readonly address?: string
  readonly flags: readonly string[]
  readonly master?: string
  readonly ifalias?: string
  readonly linkinfo?: { readonly info_kind?: string }
}

interface RawAddresses {
  readonly ifname: string
  readonly addr_info: readonly { readonly local?: string; readonly prefixlen: number }[]
}

interface RawRoute {
  readonly dst: string
}

/** No duplicate address detection: we hand the addresses out, and a tentative address refuses bind(2) for a second. */
const addAddress = (address: string, device: string): IpCommand => [
  ...['addr', 'add', address, 'dev', device],
  ...(familyOf(address) === 6 ? ['nodad'] : []),
]

const defaultRoute = (gateway: string, device: string): IpCommand => [
  ...['route', 'add', familyOf(gateway) === 6 ? '::/0' : '0.0.0.0/0', 'via', gateway, 'dev', device],
]

const toLink = (raw: RawLink): Link => ({
  name: raw.ifname,
  index: raw.ifindex,
  kind: raw.linkinfo?.info_kind ?? null,
  mac: raw.address ?? null,
  up: raw.flags.includes('UP'),
  bridge: raw.master ?? null,
  owner: raw.ifalias?.startsWith(ALIAS) ? raw.ifalias.slice(ALIAS.length) : null,
})

export const createLinks = (execute: Execute = onHost, sysctl: Sysctl = hostSysctl): Links => {
  const remove = async (name: string): Promise<boolean> => {
    const outcome = await execute('ip', ['link', 'del', 'dev', name])
    if (outcome.stderr.includes('Cannot find device')) return false
    succeed('ip', outcome)
    return true
  }

  const list = async (): Promise<readonly Link[]> =>
    (await ipJson<RawLink>(execute, ['-d', 'link', 'show'])).map(toLink)

  /** Deletes what is ours only: a link of that name that somebody else made is the likeliest reason for a failure. */
  const undo = async (name: string, owner: string): Promise<void> => {
    const ours = (await list()).some(link => link.name === name && link.owner === owner)
    if (ours) await remove(name)
  }

  /** The batch's first command creates the link; if that or anything after it fails, nothing of it is left. */
  const build = async (
    { name, owner }: { readonly name: string; readonly owner: string },
    batch: readonly [IpCommand, ...IpCommand[]],
    finish: () => Promise<void>,
  ): Promise<void> => {
    let made = true
    try {
      await ipBatch(execute, batch, failed => {
        made = failed !== 0
      })
      await finish()
    } catch (error) {
      if (made) await undo(name, owner).catch(() => undefined)
      throw error
    }
  }

  const addresses = async (): Promise<readonly LinkAddress[]> => {
    const raw = await ipJson<RawAddresses>(execute, ['addr', 'show'])
    return raw.flatMap(({ ifname, addr_info }) =>
      addr_info.flatMap(({ local, prefixlen }) =>
        local === undefined ? [] : [{ interfaceName: ifname, address: local, prefix: prefixlen }],
      ),
    )
  }

  return {
    createBridge: ({ name, owner, mac, addresses: own }) =>
      build(
        { name, owner },
        [
          ['link', 'add', 'name', name, 'address', mac, 'type', 'bridge'],
          ['link', 'set', 'dev', name, 'alias', ALIAS + owner],
        ],
        async () => {
          const ipv6 = (key: string) => `net/ipv6/conf/${name}/${key}`
          // A kernel without IPv6 has no such keys.
          if ((await sysctl.read(ipv6('accept_ra'))) !== null)
            await sysctl.write([
              // Before the link is up: a container must not hand the host a route.
              { key: ipv6('accept_ra'), value: '0' },
              // Off for new links on some hosts that use it on others.
              { key: ipv6('disable_ipv6'), value: own.some(a => familyOf(a) === 6) ? '0' : '1' },
            ])
          await ipBatch(execute, [
            ...own.map(address => addAddress(address, name)),
            ['link', 'set', 'dev', name, 'up'],
          ])
        },
      ),
    createVeth: ({ name, owner, bridge, netns, peer, mac, addresses: own, gateways }) =>
      build(
        { name, owner },
        [
          [
            ...['link', 'add', 'name', name, 'type', 'veth'],
            ...['peer', 'name', peer, 'address', mac, 'netns', netns],
          ],
          ['link', 'set', 'dev', name, 'alias', ALIAS + owner],
          ['link', 'set', 'dev', name, 'master', bridge, 'up'],
          // With br_netfilter a container that calls its own published port is bridged back out of the port it came in by.
          ['link', 'set', 'dev', name, 'type', 'bridge_slave', 'hairpin', 'on'],
        ],
        () =>
          ipBatch(inNetns(netns), [
            ['link', 'set', 'dev', 'lo', 'up'],
            ...own.map(address => addAddress(address, peer)),
            ['link', 'set', 'dev', peer, 'up'],
            ...gateways.map(gateway => defaultRoute(gateway, peer)),
          ]),
      ),
    remove,
    list,
    addresses,
    occupied: async () => {
      const routes = await ipJson<RawRoute>(execute, ['route', 'show', 'table', 'all'])
      const own = (await addresses()).map(({ address, prefix }) => cidrOf(address, prefix))
      return [...own, ...routes.flatMap(({ dst }) => routeCidr(dst) ?? [])]
    },
  }
}

/**
 * Routes that lead wider than the largest private network (10/8; fc00::/7) are a default route or its pieces: VPNs lay
 * 0/1 and 128/1 over it so as not to replace it. They lead everywhere and occupy nothing.
 */
const NARROWEST_DEFAULT = { 4: 7, 6: 6 } as const

/** `10.0.0.0/8`, `10.6.0.1` (a host route); null for a default route or a piece of one. */
const routeCidr = (destination: string): Cidr | null => {
  if (destination === 'default') return null
  const family = familyOf(destination)
  const text = destination.includes('/') ? destination : `${destination}/${family === 6 ? 128 : 32}`
  const { address, prefix } = parseInterfaceAddress(text)
  return prefix <= NARROWEST_DEFAULT[family] ? null : cidrOf(address, prefix)
}
