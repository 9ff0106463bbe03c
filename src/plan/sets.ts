/**
 * The table's sets and maps. Everything that grows with use is an element of one of these, so a packet costs a
 * handful of lookups and a change costs a few elements, however much is published.
 *
 *   key     is                                            for                             kept as
 *   any     protocol . port                               every address of this host      hash
 *   addr    address . protocol . port                     one address                     hash
 *   span    prefix . protocol . ports                     a range; any address is /0      interval
 *
 * An address and a port are looked up in two maps with the same key (nft 1.0.6 cannot declare, in JSON, a map whose
 * values are a pair). A range that keeps its port numbers is one element. A shifted one (20000-20999:30000-30999) is
 * one element for its address and counters, and one small element a port in `port_*`.
 *
 * Counters: an element of `dnat_*` counts flows (it sees their first packets), `in_*` and `out_*` count all packets of
 * the two directions. So connections = packets of dnat, bytes in = bytes of in, bytes out = bytes of out. Bytes are
 * those of IP packets, headers included.
 */
import type { Family } from '../core/address.ts'
import { add, type Json, type NftCommand } from './nftables.ts'

type Scope = 'any' | 'addr'
type PerFamily =
  | `dnat_${Scope}`
  | `port_${Scope}`
  | 'dnat_range'
  | `dnat_shift_${Scope}`
  | `${'in' | 'out'}_${Scope | 'range'}`
export type SetName =
  | `${PerFamily}${Family}`
  | 'loopback4'
  | 'resolvers4'
  | `nets${Family}`
  | `home${Family}`
  | 'bridges'
  | 'same_bridge'
  | `opened${Family}`
  | 'same_opened'

export interface SetShape {
  readonly key: Json
  /** What a map gives; undefined for a set. */
  readonly value?: string
  readonly interval?: true
  readonly counter?: true
}

const perFamily = (family: Family): Readonly<Record<`${PerFamily}${Family}`, SetShape>> => {
  const address = `ipv${family}_addr`
  const any = { key: ['inet_proto', 'inet_service'] }
  const addr = { key: [address, 'inet_proto', 'inet_service'] }
  const counted = { counter: true } as const
  const span = { ...addr, interval: true, ...counted } as const
  const shapes: Readonly<Record<PerFamily, SetShape>> = {
    dnat_any: { ...any, value: address, ...counted },
    dnat_addr: { ...addr, value: address, ...counted },
    port_any: { ...any, value: 'inet_service' },
    port_addr: { ...addr, value: 'inet_service' },
    dnat_range: { ...span, value: address },
    dnat_shift_any: { ...any, value: address, interval: true, ...counted },
    dnat_shift_addr: { ...span, value: address },
    in_any: { ...any, ...counted },
    in_addr: { ...addr, ...counted },
    in_range: span,
    out_any: { ...any, ...counted },
    out_addr: { ...addr, ...counted },
    out_range: span,
  }
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [`${name}${family}`, shape]),
  ) as Readonly<Record<`${PerFamily}${Family}`, SetShape>>
}

export const SETS: Readonly<Record<SetName, SetShape>> = {
  bridges: { key: 'ifname' },
  same_bridge: { key: ['ifname', 'ifname'] },
  opened4: { key: 'ifname' },
  opened6: { key: 'ifname' },
  same_opened: { key: ['ifname', 'ifname'] },
  // Subnets do not overlap: ipam sees to it.
  nets4: { key: 'ipv4_addr', interval: true },
  nets6: { key: 'ipv6_addr', interval: true },
  home4: { key: ['ipv4_addr', 'ifname'], interval: true },
  home6: { key: ['ipv6_addr', 'ifname'], interval: true },
  loopback4: { key: ['ipv4_addr', 'inet_proto', 'inet_service'], interval: true },
  resolvers4: { key: ['ipv4_addr', 'inet_proto', 'inet_service'] },
  ...perFamily(4),
  ...perFamily(6),
}

export const isSetName = (name: unknown): name is SetName =>
  typeof name === 'string' && Object.hasOwn(SETS, name)

/** nft's word for it. */
export const kindOf = (name: SetName): 'set' | 'map' => (SETS[name].value === undefined ? 'set' : 'map')

export const declarations = (): readonly NftCommand[] =>
  Object.entries(SETS).map(([name, { key, value, interval, counter }]) =>
    add(value === undefined ? 'set' : 'map', {
      name,
      type: key,
      ...(value === undefined ? {} : { map: value }),
      ...(interval ? { flags: ['interval'] } : {}),
      ...(counter ? { stmt: [{ counter: null }] } : {}),
    }),
  )
