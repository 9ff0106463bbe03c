/** What the journal's records mean: the format record, then groups of changes. Values are checked when they come back. */
import * as z from 'zod'
import type { Container, Network, Publication } from '../model/index.ts'
import { container, network, publication } from '../model/schema.ts'

export interface State {
  readonly publications: ReadonlyMap<string, Publication>
  readonly containers: ReadonlyMap<string, Container>
  readonly networks: ReadonlyMap<string, Network>
  /** What is neither: choices that must outlive the daemon. Whoever reads an entry checks it. */
  readonly meta: ReadonlyMap<string, Json>
}

type Json = z.output<ReturnType<typeof z.json>>
type Kind = keyof State
type ValueOf<K extends Kind> = State[K] extends ReadonlyMap<string, infer V> ? V : never
export type Records = { readonly [K in Kind]: Map<string, ValueOf<K>> }

export type Change =
  | { readonly [K in Kind]: { readonly put: K; readonly id: string; readonly value: ValueOf<K> } }[Kind]
  | { readonly delete: Kind; readonly id: string }

const kind = z.enum(['publications', 'containers', 'networks', 'meta'])
const put = <K extends Kind, S extends z.ZodType>(name: K, value: S) =>
  z.strictObject({ put: z.literal(name), id: z.string().min(1), value })

const group = z.array(
  z.union([
    z.strictObject({ delete: kind, id: z.string().min(1) }),
    z.discriminatedUnion('put', [
      put('publications', publication),
      put('containers', container),
      put('networks', network),
      put('meta', z.json()),
    ]),
  ]),
)

/** The first record. A journal of another format is not read. */
export const FORMAT = { format: 'portctl journal', version: 1 } as const

export const isFormat = (payload: unknown): boolean => JSON.stringify(payload) === JSON.stringify(FORMAT)

/** @throws z.ZodError with the path of what is wrong. */
export const decodeGroup = (payload: unknown): readonly Change[] => group.parse(payload)

export const emptyRecords = (): Records => ({
  publications: new Map(),
  containers: new Map(),
  networks: new Map(),
  meta: new Map(),
})

export const applyChanges = (records: Records, changes: readonly Change[]): void => {
  for (const change of changes) {
    if ('delete' in change) records[change.delete].delete(change.id)
    // `Change` pairs each kind with its value; the compiler loses the pair when it indexes.
    else (records[change.put] as Map<string, unknown>).set(change.id, change.value)
  }
}

/** The changes that make these records from nothing, in groups of at most `size`. */
export function* snapshot(records: Records, size: number): Generator<readonly Change[]> {
  let changes: Change[] = []
  for (const name of kind.options) {
    for (const [id, value] of records[name]) {
      changes.push({ put: name, id, value } as Change)
      if (changes.length === size) {
        yield changes
        changes = []
      }
    }
  }
  if (changes.length > 0) yield changes
}
