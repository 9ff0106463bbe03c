/**
 * Reads the table back from `nft -j list …`: what is really there, where it differs from what is wanted, and what the
 * counters say. Elements are put into the form that elements.ts writes, so both sides compare as text.
 *
 * Anything may stand in a table that somebody else has edited: what is not of our form is carried along as it is,
 * differs from everything wanted, and so shows as drift.
 */
import { CHAINS } from './chains.ts'
import { type Element, elementsOf, PROTOCOL_NUMBERS } from './elements.ts'
import type { Desired } from './index.ts'
import type { Json, JsonObject, NftCommand } from './nftables.ts'
import { addElements, identity, LAYOUT, removeElements, replaceTable } from './ruleset.ts'
import { isSetName, kindOf, SETS } from './sets.ts'

export interface ObservedElement extends Element {
  /** Zero where the kernel keeps none. */
  readonly packets: number
  readonly bytes: number
}

export interface Observed {
  /** Whether every set, map, chain and rule is there, in order, and nothing else. */
  readonly intact: boolean
  readonly elements: readonly ObservedElement[]
}

/** Of one publication, since its elements were made. Bytes are those of IP packets, headers included. */
export interface Traffic {
  readonly connections: number
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface Drift {
  readonly intact: boolean
  readonly missing: readonly Element[]
  readonly extra: readonly Element[]
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** nft prints protocols by name where it knows one. */
const canonicalKey = (key: Json): Json => {
  if (!isObject(key) || !Array.isArray(key.concat)) return key
  return { concat: key.concat.map((part: Json) => PROTOCOL_NUMBERS.get(part) ?? part) }
}

/** A set lists `key` or `{elem: {val: key, comment, counter}}`, a map `[the same, value]`. */
const element = (set: Element['set'], raw: Json): ObservedElement => {
  const [left = null, value] = kindOf(set) === 'map' && Array.isArray(raw) ? (raw as readonly Json[]) : [raw]
  const body = isObject(left) && isObject(left.elem) ? left.elem : { val: left }
  const counter = isObject(body.counter) ? body.counter : {}
  return {
    set,
    key: canonicalKey(body.val ?? null),
    ...(typeof value === 'string' || typeof value === 'number' ? { value } : {}),
    ...(typeof body.comment === 'string' ? { owner: body.comment } : {}),
    packets: Number(counter.packets ?? 0),
    bytes: Number(counter.bytes ?? 0),
  }
}

/** Objects of a listing that are of one kind. */
const ofKind = (listing: readonly JsonObject[], kind: string): readonly JsonObject[] =>
  listing.map(object => object[kind]).filter(isObject)

const readElements = (listing: readonly JsonObject[]): readonly ObservedElement[] =>
  [...ofKind(listing, 'set'), ...ofKind(listing, 'map')].flatMap(({ name, elem }) =>
    isSetName(name) && Array.isArray(elem) ? elem.map((raw: Json) => element(name, raw)) : [],
  )

/** Names and comments of everything that a table without elements holds. */
const outline = (listing: readonly JsonObject[]): string =>
  JSON.stringify({
    sets: [...ofKind(listing, 'set'), ...ofKind(listing, 'map')].map(({ name }) => name).sort(),
    chains: ofKind(listing, 'chain')
      .map(({ name, hook, prio }) => (hook === undefined ? [name] : [name, hook, prio]))
      .sort(),
    rules: Object.fromEntries(
      CHAINS.map(({ name }) => [
        name,
        ofKind(listing, 'rule')
          .filter(({ chain }) => chain === name)
          .map(({ comment }) => comment),
      ]),
    ),
  })

const OUTLINE = JSON.stringify({
  sets: Object.keys(SETS).sort(),
  chains: [
    [LAYOUT],
    ...CHAINS.map(({ name, base }) => (base === undefined ? [name] : [name, base.hook, base.prio])),
  ].sort(),
  rules: Object.fromEntries(CHAINS.map(({ name, rules }) => [name, rules.map(({ comment }) => comment)])),
})

/** @param listing objects of `nft -j list table inet portctl`; null when there is no such table. */
export const readTable = (listing: readonly JsonObject[] | null): Observed =>
  listing === null
    ? { intact: false, elements: [] }
    : { intact: outline(listing) === OUTLINE, elements: readElements(listing) }

/** @param listing of the table, or of some of its sets and maps: what is not listed counts nothing. */
export const readCounters = (listing: readonly JsonObject[]): ReadonlyMap<string, Traffic> => {
  const traffic = new Map<string, Traffic>()
  for (const { set, owner, packets, bytes } of readElements(listing)) {
    if (owner === undefined) continue
    const known = traffic.get(owner) ?? { connections: 0, bytesIn: 0, bytesOut: 0 }
    traffic.set(owner, {
      connections: known.connections + (set.startsWith('dnat_') ? packets : 0),
      bytesIn: known.bytesIn + (set.startsWith('in_') ? bytes : 0),
      bytesOut: known.bytesOut + (set.startsWith('out_') ? bytes : 0),
    })
  }
  return traffic
}

/** Every set and map that counts, for listing these alone. */
export const COUNTED = Object.keys(SETS)
  .filter(isSetName)
  .filter(name => SETS[name].counter)
  .map(name => ({ name, kind: kindOf(name) }))

export const drift = (desired: Desired, observed: Observed): Drift => {
  const wanted = new Map(elementsOf(desired).map(element => [identity(element), element]))
  const there = new Map(observed.elements.map(element => [identity(element), element]))
  return {
    intact: observed.intact,
    missing: [...wanted].flatMap(([id, element]) => (there.has(id) ? [] : [element])),
    extra: [...there].flatMap(([id, element]) => (wanted.has(id) ? [] : [element])),
  }
}

/** What puts it right: nothing, a few elements, or the whole table. */
export const repair = (desired: Desired, { intact, missing, extra }: Drift): readonly NftCommand[] =>
  intact ? [...removeElements(extra), ...addElements(missing)] : replaceTable(desired)
