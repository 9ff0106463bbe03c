/** The part of libnftables-json(5) that the table is written in. */
import type { Family } from '../core/address.ts'

export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

/** One command of a transaction: `{add: …}` or `{delete: …}`. */
export type NftCommand = JsonObject

export const TABLE = { family: 'inet', name: 'portctl' } as const
const HERE = { family: TABLE.family, table: TABLE.name } as const

export const add = (kind: string, what: JsonObject): NftCommand => ({ add: { [kind]: { ...HERE, ...what } } })
export const remove = (kind: string, what: JsonObject): NftCommand => ({
  delete: { [kind]: { ...HERE, ...what } },
})

export const concat = (...parts: readonly Json[]): Json => ({ concat: parts })
export const prefix = (addr: string, len: number): Json => ({ prefix: { addr, len } })

type MetaKey = 'l4proto' | 'nfproto' | 'iif' | 'oif' | 'iifname' | 'oifname' | 'iifkind' | 'oifkind'

export const meta = (key: MetaKey): Json => ({ meta: { key } })
export const ct = (key: 'state' | 'status' | 'direction'): Json => ({ ct: { key } })
/** What the first packet of the flow had, before any translation. */
export const original = (key: 'ip daddr' | 'ip6 daddr' | 'proto-dst'): Json => ({
  ct: { key, dir: 'original' },
})
export const address = (family: Family, field: 'saddr' | 'daddr'): Json => ({
  payload: { protocol: family === 4 ? 'ip' : 'ip6', field },
})
/** The port of whatever transport it is: the same two fields open TCP, UDP and SCTP headers. */
export const port = (field: 'sport' | 'dport'): Json => ({ payload: { protocol: 'th', field } })
export const destinationType: Json = { fib: { result: 'type', flags: ['daddr'] } }

export const is = (left: Json, right: Json): Json => ({ match: { op: '==', left, right } })
export const isNot = (left: Json, right: Json): Json => ({ match: { op: '!=', left, right } })
/** Any of the bits or values given. */
export const has = (left: Json, right: Json): Json => ({ match: { op: 'in', left, right } })

export const ACCEPT: Json = { accept: null }
export const DROP: Json = { drop: null }
export const RETURN: Json = { return: null }
export const MASQUERADE: Json = { masquerade: null }
export const jump = (target: string): Json => ({ jump: { target } })
/** As `jump`, but with no way back: after the target's last rule comes the policy of the base chain. */
export const goTo = (target: string): Json => ({ goto: { target } })
