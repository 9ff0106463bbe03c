/**
 * The table's chains: a constant. No rule names a publication, a container or a port.
 *
 * Guards stand in the same table, hence in the same transaction, as the translation they protect. Those of loopback
 * look at packets before conntrack does. The one of the bridges stands in `forward`, where conntrack tells how a flow
 * was translated: from outside comes in only what was addressed to this host. Translation touches packets for this
 * host's own addresses only. `forward` says nothing about traffic that has nothing to do with our bridges, except
 * between interfaces that forward only because we opened them. An accept here ends this table only: a firewall of
 * somebody else still has its say.
 *
 * A rule's comment is its identity when the table is read back, so comments are unique within a chain.
 */
import type { Family } from '../core/address.ts'
import { DNS, NUMBER } from './elements.ts'
import {
  ACCEPT,
  add,
  address,
  concat,
  ct,
  DROP,
  destinationType,
  goTo,
  has,
  is,
  isNot,
  type Json,
  jump,
  MASQUERADE,
  meta,
  type NftCommand,
  original,
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

/** Key of the `any` and `addr` kinds, read from the header. */
const key = (family: Family) => {
  const any = [meta('l4proto'), port('dport')]
  return { any: concat(...any), addr: concat(address(family, 'daddr'), ...any) }
}

/** The same key of a translated flow, whichever of its packets this is. */
const publishedKey = (family: Family) => {
  const any = [meta('l4proto'), original('proto-dst')]
  return { any: concat(...any), addr: concat(original(family === 4 ? 'ip daddr' : 'ip6 daddr'), ...any) }
}

const lookup = (of: Json, map: string): Json => ({ map: { key: of, data: `@${map}` } })

const familyChain = (family: Family): Chain => {
  const { any, addr } = key(family)
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

/**
 * Matching an element counts the packet; it has no more to pass here. The protocol is named in every rule because nft
 * knows the type of the original port from there alone.
 */
const countChain = (direction: 'in' | 'out', family: Family): Chain => {
  const { any, addr } = publishedKey(family)
  return {
    name: `count_${direction}${family}`,
    rules: Object.entries(NUMBER)
      .flatMap(([protocol, number]) =>
        Object.entries({ any, addr, range: addr }).map(([kind, what]) =>
          rule(
            `${protocol}, ${kind}`,
            is(meta('l4proto'), number),
            is(what, `@${direction}_${kind}${family}`),
            ACCEPT,
          ),
        ),
      )
      .concat(rule('of no publication', ACCEPT)),
  }
}

const byFamily = (
  comment: string,
  verdict: (family: Family) => Json,
  ...when: readonly Json[]
): readonly Rule[] =>
  FAMILIES.map(family =>
    rule(`${comment}, IPv${family}`, is(meta('nfproto'), `ipv${family}`), ...when, verdict(family)),
  )

const TRANSLATED = has(ct('status'), 'dnat')
const REQUEST = is(ct('direction'), 'original')
const ANSWER = is(ct('direction'), 'reply')

const count = (direction: 'in' | 'out'): Chain => ({
  name: `count_${direction}`,
  rules: byFamily('of a publication', family => goTo(`count_${direction}${family}`)),
})

/**
 * Translated flows pass `forward`, or `output` and `input` when an end of them is this host, and are counted there;
 * over lo both see the same packet, so each looks at one direction there. What is usual comes first.
 */
const LOCAL: readonly Chain[] = [
  {
    name: 'count_input',
    rules: [
      rule('answer', ANSWER, goTo('count_out')),
      rule('from elsewhere', isNot(meta('iif'), 'lo'), goTo('count_in')),
    ],
  },
  {
    name: 'count_output',
    rules: [
      rule('request', REQUEST, goTo('count_in')),
      rule('to elsewhere', isNot(meta('oif'), 'lo'), goTo('count_out')),
    ],
  },
]

const translating = (hook: string, ...first: readonly Rule[]): Chain => ({
  name: `${hook}_nat`,
  base: base('nat', hook, -100),
  rules: [...first, ...byFamily('published', family => jump(`dnat${family}`), is(destinationType, 'local'))],
})

/** Chains that others jump to come first: a jump needs its target. */
export const CHAINS: readonly Chain[] = [
  ...FAMILIES.map(familyChain),
  ...FAMILIES.map(family => countChain('in', family)),
  ...FAMILIES.map(family => countChain('out', family)),
  count('in'),
  count('out'),
  ...LOCAL,
  {
    name: 'guard_loopback',
    rules: [
      // route_localnet on our bridges would otherwise open the host's loopback to containers.
      rule('container to loopback', is(IN, '@bridges'), DROP),
      // Somebody else may have set route_localnet on the interface.
      rule('outside to loopback', is(key(4).addr, '@loopback4'), DROP),
    ],
  },
  {
    name: 'guard_resolver',
    rules: [
      rule('this host', is(meta('iif'), 'lo'), RETURN),
      rule('container', is(IN, '@bridges'), RETURN),
      // Carried there from the host's loopback for containers alone.
      rule('outside to resolver', is(key(4).addr, '@resolvers4'), DROP),
    ],
  },
  {
    name: 'guard_bridge',
    rules: [
      // An answer to what a container asked for: translated, hence addressed to this host when it came in.
      rule('answer', has(ct('status'), 'snat'), ANSWER, RETURN),
      rule('container', is(IN, '@bridges'), RETURN),
      rule('direct routing', is(OUT, '@bridges'), DROP),
    ],
  },
  {
    name: 'guard',
    base: base('filter', 'prerouting', -300),
    // Every packet of this host comes by here, so no lookup in a set unless loopback addresses are in play.
    rules: [
      rule('this host', is(meta('iif'), 'lo'), ACCEPT),
      rule('to loopback', is(address(4, 'daddr'), LOOPBACK), goTo('guard_loopback')),
      rule('container as loopback', is(address(4, 'saddr'), LOOPBACK), is(IN, '@bridges'), DROP),
    ],
  },
  // DNAT of 127/8 is for this host's own processes, which pass `output`.
  translating('prerouting', rule('loopback', is(address(4, 'daddr'), LOOPBACK), RETURN)),
  translating('output'),
  {
    name: 'forward',
    base: base('filter', 'forward', 0),
    rules: [
      rule('published, in', TRANSLATED, REQUEST, goTo('count_in')),
      // A name is dear to look up; only what is bound for a bridge at all is asked for it.
      rule('into a bridge', is(meta('oifkind'), 'bridge'), jump('guard_bridge')),
      rule('published, out', TRANSLATED, goTo('count_out')),
      rule('known flows', has(ct('state'), ['established', 'related']), ACCEPT),
      // Seen here only on machines with br_netfilter.
      rule('same network', is(concat(IN, OUT), '@same_bridge'), ACCEPT),
      // Out of window, hence not translated back: it would leave with the container's own address.
      rule('untranslatable', is(IN, '@bridges'), has(ct('state'), 'invalid'), DROP),
      rule('unpublished', is(OUT, '@bridges'), DROP),
      // Between two ports of somebody else's bridge: seen here only on machines with br_netfilter, too.
      rule('bridged', is(meta('iifkind'), 'bridge'), is(concat(IN, OUT), '@same_opened'), ACCEPT),
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
      rule('leaving', is(meta('iifkind'), 'bridge'), is(IN, '@bridges'), isNot(OUT, '@bridges'), MASQUERADE),
      // Back to the network it came from. By address: with br_netfilter such a packet has no input interface here, and
      // what comes from outside with the address of a neighbour must not arrive with it. A lookup of address and name
      // costs several of the address alone.
      ...FAMILIES.map(family =>
        rule(
          `hairpin, IPv${family}`,
          TRANSLATED,
          is(address(family, 'saddr'), `@nets${family}`),
          is(concat(address(family, 'saddr'), OUT), `@home${family}`),
          MASQUERADE,
        ),
      ),
      rule('from loopback', is(address(4, 'saddr'), LOOPBACK), is(OUT, '@bridges'), MASQUERADE),
    ],
  },
  {
    name: 'input',
    base: base('filter', 'input', 150),
    rules: [
      rule('published', TRANSLATED, goTo('count_input')),
      rule('names', is(port('dport'), DNS), jump('guard_resolver')),
    ],
  },
  {
    name: 'output',
    base: base('filter', 'output', 150),
    rules: [rule('published', TRANSLATED, goTo('count_output'))],
  },
]

export const chainCommands = (): readonly NftCommand[] => [
  ...CHAINS.map(({ name, base }) =>
    add('chain', { name, ...(base === undefined ? {} : { ...base, policy: 'accept' }) }),
  ),
  ...CHAINS.flatMap(({ name, rules }) =>
    rules.map(({ comment, expr }) => add('rule', { chain: name, comment, expr })),
  ),
]
