/**
 * The table's chains: a constant. No rule names a publication, a container or a port.
 *
 * Guards stand in the same table, hence in the same transaction, as the translation they protect; they look at
 * packets before conntrack does. Translation touches packets for this host's own addresses only. `forward` lets
 * through what we translated and drops what else is bound for our bridges; it says nothing about other traffic,
 * except between interfaces that forward only because we opened them. An accept here ends this table only: a firewall
 * of somebody else still has its say.
 *
 * A rule's comment is its identity when the table is read back, so comments are unique within a chain.
 */
import type { Family } from '../core/address.ts'
import {
  ACCEPT,
  add,
  address,
  concat,
  ct,
  DROP,
  destinationType,
  has,
  is,
  isNot,
  type Json,
  jump,
  MASQUERADE,
  meta,
  type NftCommand,
  port,
  prefix,
  RETURN,
} from './nftables.ts'

interface Rule {
  readonly comment: string
  readonly expr: readonly Json[]
}

interface Chain {
  readonly name: string
  /** Absent in a chain that only others jump to. */
  readonly base?: { readonly type: 'filter' | 'nat'; readonly hook: string; readonly prio: number }
  readonly rules: readonly Rule[]
}

const rule = (comment: string, ...expr: readonly Json[]): Rule => ({ comment, expr })
const base = (type: 'filter' | 'nat', hook: string, prio: number) => ({ type, hook, prio })

const FAMILIES: readonly Family[] = [4, 6]
const IN = meta('iifname')
const OUT = meta('oifname')
const LOOPBACK = prefix('127.0.0.0', 8)
/** ::1 cannot leave lo, link-local addresses mean nothing on another link: the relay answers for these. */
const LINK_SCOPE: Json = { set: ['::1', prefix('fe80::', 10)] }
const TRANSPORT = is(meta('l4proto'), { set: [6, 17, 132] })

/** Key of the `any` and `addr` kinds, read from the header's destination or source. */
const key = (family: Family, end: 'd' | 's') => {
  const any = [meta('l4proto'), port(`${end}port`)]
  return { any: concat(...any), addr: concat(address(family, `${end}addr`), ...any) }
}

const lookup = (of: Json, map: string): Json => ({ map: { key: of, data: `@${map}` } })

const familyChain = (family: Family): Chain => {
  const { any, addr } = key(family, 'd')
  const to = (comment: string, from: Json, addresses: string, ports?: string): Rule =>
    rule(comment, TRANSPORT, {
      dnat: {
        family: family === 4 ? 'ip' : 'ip6',
        addr: lookup(from, `${addresses}${family}`),
        ...(ports === undefined ? {} : { port: lookup(from, `${ports}${family}`) }),
      },
    })
  const unroutable = ['saddr', 'daddr'] as const
  return {
    name: `dnat${family}`,
    rules: [
      ...(family === 4
        ? []
        : unroutable.map(end => rule(`relay only: ${end}`, is(address(6, end), LINK_SCOPE), RETURN))),
      to('every address', any, 'dnat_any', 'port_any'),
      to('one address', addr, 'dnat_addr', 'port_addr'),
      to('range', addr, 'dnat_range'),
      to('shifted range, every address', any, 'dnat_shift_any', 'port_any'),
      to('shifted range, one address', addr, 'dnat_shift_addr', 'port_addr'),
    ],
  }
}

/** Matching an element counts it; nothing else happens. */
const countChain = (direction: 'in' | 'out', family: Family): Chain => {
  const { any, addr } = key(family, direction === 'in' ? 'd' : 's')
  const count = (kind: string, what: Json) => rule(kind, is(what, `@${direction}_${kind}${family}`))
  return {
    name: `count_${direction}${family}`,
    rules: [count('any', any), count('addr', addr), count('range', addr)],
  }
}

const byFamily = (comment: string, target: string, ...when: readonly Json[]): readonly Rule[] =>
  FAMILIES.map(family =>
    rule(
      `${comment}, IPv${family}`,
      ...when,
      is(meta('nfproto'), `ipv${family}`),
      jump(`${target}${family}`),
    ),
  )

/** Translated flows only: looked up before their destination is translated, after their source is translated back. */
const counting = (direction: 'in' | 'out', hook: string, prio: number): Chain => ({
  name: `${hook}_count`,
  base: base('filter', hook, prio),
  rules: byFamily(
    direction === 'in' ? 'bytes in' : 'bytes out',
    `count_${direction}`,
    has(ct('status'), 'dnat'),
    is(ct('direction'), direction === 'in' ? 'original' : 'reply'),
  ),
})

const translating = (hook: string, ...first: readonly Rule[]): Chain => ({
  name: `${hook}_nat`,
  base: base('nat', hook, -100),
  rules: [...first, ...byFamily('published', 'dnat', is(destinationType, 'local'))],
})

/** Chains that others jump to come first: a jump needs its target. */
export const CHAINS: readonly Chain[] = [
  ...FAMILIES.map(familyChain),
  ...FAMILIES.map(family => countChain('in', family)),
  ...FAMILIES.map(family => countChain('out', family)),
  {
    name: 'guard',
    base: base('filter', 'prerouting', -300),
    rules: [
      // route_localnet on our bridges would otherwise open the host's loopback, or lend its addresses, to containers.
      rule('container to loopback', is(IN, '@bridges'), is(address(4, 'daddr'), LOOPBACK), DROP),
      rule('container as loopback', is(IN, '@bridges'), is(address(4, 'saddr'), LOOPBACK), DROP),
      // Somebody else may have set route_localnet on the interface.
      rule(
        'outside to loopback',
        isNot(IN, 'lo'),
        is(address(4, 'daddr'), LOOPBACK),
        is(key(4, 'd').addr, '@loopback4'),
        DROP,
      ),
      // Carried there from the host's loopback for containers alone.
      rule(
        'outside to resolver',
        isNot(IN, 'lo'),
        isNot(IN, '@bridges'),
        is(key(4, 'd').addr, '@resolvers4'),
        DROP,
      ),
      // The gateway's own address is the host's, not a container's: left to the host's firewall.
      ...FAMILIES.map(family =>
        rule(
          `direct routing, IPv${family}`,
          isNot(IN, '@bridges'),
          is(address(family, 'daddr'), `@nets${family}`),
          isNot(destinationType, 'local'),
          DROP,
        ),
      ),
    ],
  },
  counting('in', 'prerouting', -150),
  counting('in', 'output', -150),
  // DNAT of 127/8 is for this host's own processes, which pass `output`.
  translating('prerouting', rule('loopback', is(address(4, 'daddr'), LOOPBACK), RETURN)),
  translating('output'),
  {
    name: 'forward',
    base: base('filter', 'forward', 0),
    rules: [
      rule('known flows', has(ct('state'), ['established', 'related']), ACCEPT),
      // Seen here only on machines with br_netfilter.
      rule('same network', is(concat(IN, OUT), '@same_bridge'), ACCEPT),
      // Out of window, hence not translated back: it would leave with the container's own address.
      rule('untranslatable', is(IN, '@bridges'), has(ct('state'), 'invalid'), DROP),
      rule('published', has(ct('status'), 'dnat'), ACCEPT),
      rule('unpublished', is(OUT, '@bridges'), DROP),
      ...FAMILIES.map(family =>
        rule(
          `not a router, IPv${family}`,
          is(meta('nfproto'), `ipv${family}`),
          is(IN, `@opened${family}`),
          isNot(IN, '@bridges'),
          DROP,
        ),
      ),
    ],
  },
  {
    name: 'postrouting_nat',
    base: base('nat', 'postrouting', 100),
    rules: [
      rule('leaving', is(IN, '@bridges'), isNot(OUT, '@bridges'), MASQUERADE),
      // Back to the network it came from. By address: with br_netfilter such a packet has no input interface here.
      ...FAMILIES.map(family =>
        rule(
          `hairpin, IPv${family}`,
          has(ct('status'), 'dnat'),
          is(concat(address(family, 'saddr'), OUT), `@home${family}`),
          MASQUERADE,
        ),
      ),
      rule('from loopback', is(OUT, '@bridges'), is(address(4, 'saddr'), LOOPBACK), MASQUERADE),
    ],
  },
  counting('out', 'postrouting', 150),
  counting('out', 'input', 150),
]

export const chainCommands = (): readonly NftCommand[] => [
  ...CHAINS.map(({ name, base }) =>
    add('chain', { name, ...(base === undefined ? {} : { ...base, policy: 'accept' }) }),
  ),
  ...CHAINS.flatMap(({ name, rules }) =>
    rules.map(({ comment, expr }) => add('rule', { chain: name, comment, expr })),
  ),
]
