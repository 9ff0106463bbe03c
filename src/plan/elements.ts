/** What each wanted thing puts into the sets and maps. */
import { type Family, familyOf, isWildcard, type Protocol } from '../core/address.ts'
import type { BridgeNet, Desired, Forward, Opened } from './index.ts'
import { concat, type Json, prefix } from './nftables.ts'
import type { SetName } from './sets.ts'

export interface Element {
  readonly set: SetName
  readonly key: Json
  /** What a map gives for the key. */
  readonly value?: string | number
  /** Publication, on the elements that count for it; a comment in the kernel. */
  readonly owner?: string
}

const FAMILIES = [4, 6] as const

/** By number: /etc/protocols, which nft would need for names, is missing on small systems. */
export const NUMBER: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 }

/** What nft may print for a protocol → what we write. */
export const PROTOCOL_NUMBERS: ReadonlyMap<Json, number> = new Map<Json, number>(Object.entries(NUMBER))

const forwardElements = function* (forward: Forward, hostIp: string): Generator<Element> {
  const { publication: owner, ports, toPorts } = forward
  const family: Family = familyOf(hostIp)
  const protocol = NUMBER[forward.protocol]
  const single = ports.first === ports.last
  const range: Json = single ? ports.first : { range: [ports.first, ports.last] }
  if (hostIp.startsWith('127.')) yield { set: 'loopback4', key: concat(hostIp, protocol, range) }

  const to = forward.to[family]
  if (to === undefined) return
  const everywhere = isWildcard(hostIp)
  const scope = everywhere ? 'any' : 'addr'
  const exact = (port: Json): Json => (everywhere ? concat(protocol, port) : concat(hostIp, protocol, port))
  const span = single ? exact(range) : concat(everywhere ? prefix(hostIp, 0) : hostIp, protocol, range)

  const shifted = ports.first !== toPorts.first
  if (single) yield { set: `dnat_${scope}${family}`, key: span, value: to, owner }
  else if (shifted) yield { set: `dnat_shift_${scope}${family}`, key: exact(range), value: to, owner }
  else yield { set: `dnat_range${family}`, key: span, value: to, owner }
  for (let i = 0; (single || shifted) && ports.first + i <= ports.last; i++)
    yield { set: `port_${scope}${family}`, key: exact(ports.first + i), value: toPorts.first + i }
  for (const direction of ['in', 'out'] as const)
    yield { set: `${direction}_${single ? scope : 'range'}${family}`, key: span, owner }
}

export const ofForward = (forward: Forward): readonly Element[] =>
  forward.hostIps.flatMap(hostIp => [...forwardElements(forward, hostIp)])

const block = (cidr: string): Json => {
  const [addr = '', len] = cidr.split('/')
  return prefix(addr, Number(len))
}

const subnetElements = (family: Family, subnet: string, bridge: string): readonly Element[] => [
  { set: `nets${family}`, key: block(subnet) },
  { set: `home${family}`, key: concat(block(subnet), bridge) },
]

/** The port of every resolver, hence what `input` looks at first. */
export const DNS = 53

const resolverElements = (address: string): readonly Element[] =>
  [NUMBER.tcp, NUMBER.udp].map(protocol => ({ set: 'resolvers4', key: concat(address, protocol, DNS) }))

export const ofNetwork = ({ bridge, subnet4, subnet6, resolver4 }: BridgeNet): readonly Element[] => [
  { set: 'bridges', key: bridge },
  { set: 'same_bridge', key: concat(bridge, bridge) },
  ...(subnet4 === null ? [] : subnetElements(4, subnet4, bridge)),
  ...(subnet6 === null ? [] : subnetElements(6, subnet6, bridge)),
  ...(resolver4 === undefined ? [] : resolverElements(resolver4)),
]

export const ofOpened = (opened: Opened): readonly Element[] => [
  ...FAMILIES.flatMap(family =>
    [...new Set(opened[family])].map(key => ({ set: `opened${family}` as const, key })),
  ),
  ...[...new Set([...opened[4], ...opened[6]])].map(name => ({
    set: 'same_opened' as const,
    key: concat(name, name),
  })),
]

export const elementsOf = ({ forwards, networks, opened }: Desired): readonly Element[] => [
  ...networks.flatMap(ofNetwork),
  ...ofOpened(opened),
  ...forwards.flatMap(ofForward),
]
