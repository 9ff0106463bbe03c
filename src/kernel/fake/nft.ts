/**
 * nftables in memory: tables, chains, rules, sets and maps with their elements, with the kernel's answers to what
 * exists, what is missing, and a transaction that fails half-way. It does not evaluate rules, and knows neither
 * overlapping intervals nor what is busy; test/kernel/nft.conformance.ts says what it shares with the real one.
 */
import { PortctlError } from '../../core/errors.ts'
import type { JsonObject, JsonValue, Nft, NftCommand, NftObject, TableRef } from '../nft.ts'

interface Element {
  readonly key: JsonValue
  readonly value: JsonValue | undefined
  readonly comment: JsonValue | undefined
  readonly counter: { readonly packets: number; readonly bytes: number } | null
}

type Kind = 'chain' | 'set' | 'map'

interface Holder {
  readonly kind: Kind
  readonly definition: JsonObject
  readonly elements: Map<string, Element>
  readonly rules: JsonObject[]
}

/** `FAMILY TABLE` → name → what it is. */
type State = Map<string, Map<string, Holder>>

export interface FakeNft extends Nft {
  /** As traffic would: adds to the counter of an element. */
  count(ref: TableRef, name: string, key: JsonValue, packets: number, bytes: number): void
  /** Makes every call fail from now on, or none. */
  break(error: PortctlError | null): void
}

const fail = (code: 'nft-exists' | 'nft-not-found' | 'nft-failed', why: string): PortctlError =>
  PortctlError.of(code, { why })

const missing = (): PortctlError => fail('nft-not-found', 'No such file or directory')

const text = (body: JsonObject, field: string): string => String(body[field])

const tableOf = (state: State, body: JsonObject): Map<string, Holder> => {
  const table = state.get(`${text(body, 'family')} ${text(body, 'table')}`)
  if (table === undefined) throw missing()
  return table
}

const holderOf = (state: State, body: JsonObject, name: string): Holder => {
  const holder = tableOf(state, body).get(name)
  if (holder === undefined) throw missing()
  return holder
}

const hasCounter = ({ definition }: Holder): boolean =>
  Array.isArray(definition.stmt) && JSON.stringify(definition.stmt).includes('"counter"')

const isObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A set's element is `key` or `{elem: {val: key, comment, counter}}`, a map's is `[the same, value]`. */
const parseElement = (raw: JsonValue, mapped: boolean): Element => {
  const [left = null, value] = mapped && Array.isArray(raw) ? (raw as readonly JsonValue[]) : [raw]
  const wrapped = isObject(left) ? left.elem : undefined
  const body = isObject(wrapped) ? wrapped : { val: left }
  return { key: body.val ?? null, value, comment: body.comment, counter: null }
}

const addElements = (holder: Holder, raw: readonly JsonValue[], strict: boolean): void => {
  if (holder.kind === 'chain') throw missing()
  for (const one of raw) {
    const element = parseElement(one, holder.kind === 'map')
    const key = JSON.stringify(element.key)
    const known = holder.elements.get(key)
    if (known !== undefined && (strict || JSON.stringify(known.value) !== JSON.stringify(element.value)))
      throw fail('nft-exists', 'File exists')
    const counter = hasCounter(holder) ? { packets: 0, bytes: 0 } : null
    if (known === undefined) holder.elements.set(key, { ...element, counter })
  }
}

const deleteElements = (holder: Holder, raw: readonly JsonValue[]): void => {
  for (const one of raw) {
    // A map's element may be named with its value or without.
    const { key } = parseElement(one, true)
    if (!holder.elements.delete(JSON.stringify(key))) throw missing()
  }
}

const elementsIn = (body: JsonObject): readonly JsonValue[] => {
  const { elem } = body
  return Array.isArray(elem) ? (elem as readonly JsonValue[]) : []
}

const add = (state: State, kind: string, body: JsonObject, strict: boolean): void => {
  if (kind === 'table') {
    const key = `${text(body, 'family')} ${text(body, 'name')}`
    if (state.has(key) && strict) throw fail('nft-exists', 'File exists')
    if (!state.has(key)) state.set(key, new Map())
  } else if (kind === 'element') {
    addElements(holderOf(state, body, text(body, 'name')), elementsIn(body), strict)
  } else if (kind === 'rule') {
    holderOf(state, body, text(body, 'chain')).rules.push(body)
  } else if (kind === 'chain' || kind === 'set' || kind === 'map') {
    const table = tableOf(state, body)
    const name = text(body, 'name')
    if (table.has(name) && strict) throw fail('nft-exists', 'File exists')
    const { elem: _, ...definition } = body
    const holder = table.get(name) ?? { kind, definition, elements: new Map(), rules: [] }
    table.set(name, holder)
    if (kind !== 'chain') addElements(holder, elementsIn(body), false)
  } else {
    throw fail('nft-failed', `Unknown object passed to add command: ${kind}`)
  }
}

const remove = (state: State, kind: string, body: JsonObject): void => {
  if (kind === 'table') {
    if (!state.delete(`${text(body, 'family')} ${text(body, 'name')}`)) throw missing()
  } else if (kind === 'element') {
    deleteElements(holderOf(state, body, text(body, 'name')), elementsIn(body))
  } else if (!tableOf(state, body).delete(text(body, 'name'))) {
    throw missing()
  }
}

const flush = (state: State, kind: string, body: JsonObject): void => {
  if (kind === 'table') {
    for (const holder of tableOf(state, { ...body, table: body.name ?? null }).values())
      holder.rules.length = 0
    return
  }
  const holder = holderOf(state, body, text(body, 'name'))
  holder.rules.length = 0
  holder.elements.clear()
}

const execute = (state: State, command: NftCommand): void => {
  const [verb, what] = Object.entries(command)[0] ?? []
  const [kind = '', body] = Object.entries(what ?? {})[0] ?? []
  const object = body as JsonObject
  if (verb === 'add' || verb === 'create') add(state, kind, object, verb === 'create')
  else if (verb === 'delete') remove(state, kind, object)
  else if (verb === 'flush') flush(state, kind, object)
  else throw fail('nft-failed', `Unknown command object: ${verb}`)
}

const listed = ({ key, value, comment, counter }: Element): JsonValue => {
  const extra = { ...(comment === undefined ? {} : { comment }), ...(counter === null ? {} : { counter }) }
  const left: JsonValue = Object.keys(extra).length === 0 ? key : { elem: { val: key, ...extra } }
  return value === undefined ? left : [left, value]
}

const describe = ({ kind, definition, elements, rules }: Holder): readonly NftObject[] => [
  {
    [kind]: { ...definition, ...(elements.size === 0 ? {} : { elem: [...elements.values()].map(listed) }) },
  },
  ...rules.map(rule => ({ rule })),
]

export const createFakeNft = (): FakeNft => {
  let state: State = new Map()
  let broken: PortctlError | null = null
  let generation = 1

  const attempt = (commands: readonly NftCommand[]): State => {
    if (broken !== null) throw broken
    const next = structuredClone(state)
    for (const command of commands) execute(next, command)
    return next
  }
  const find = (ref: TableRef): Map<string, Holder> | undefined => {
    if (broken !== null) throw broken
    return state.get(`${ref.family} ${ref.table}`)
  }

  return {
    apply: async commands => {
      state = attempt(commands)
      if (commands.length > 0) generation++
    },
    listTable: async ref => {
      const table = find(ref)
      if (table === undefined) return null
      const self: NftObject = { table: { family: ref.family, name: ref.table } }
      return [self, ...[...table.values()].flatMap(describe)]
    },
    listOutline: async ref => {
      const table = find(ref)
      if (table === undefined) return null
      const self: NftObject = { table: { family: ref.family, name: ref.table } }
      return [self, ...[...table.values()].flatMap(holder => describe({ ...holder, elements: new Map() }))]
    },
    listSets: async (ref, sets) => {
      const table = find(ref)
      return sets.flatMap(({ name, kind }) => {
        const holder = table?.get(name)
        return holder?.kind === kind ? describe(holder) : []
      })
    },
    generation: async () => (broken === null ? generation : undefined),
    probe: async () => {
      if (broken !== null) throw broken
    },
    count: (ref, name, key, packets, bytes) => {
      const holder = find(ref)?.get(name)
      const element = holder?.elements.get(JSON.stringify(key))
      if (holder === undefined || element?.counter == null) throw missing()
      const counter = {
        packets: element.counter.packets + packets,
        bytes: element.counter.bytes + bytes,
      }
      holder.elements.set(JSON.stringify(key), { ...element, counter })
    },
    break: error => {
      broken = error
    },
  }
}
