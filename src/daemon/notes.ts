/** What control writes down for its own next start, in the store's `meta` records; checked when it is read back. */
import * as z from 'zod'
import type { SysctlChange } from '../kernel/forwarding.ts'
import type { Opened } from '../plan/index.ts'
import type { Change, Store } from './store.ts'

/** A container on its way in or out: what has to be found again after a crash, to be removed. */
export interface Wiring {
  readonly id: string
  readonly namespace: string
  readonly links: readonly string[]
  /** Addresses whose flows are to be forgotten. */
  readonly addresses: readonly string[]
}

/** What forwarding we turned on: to be turned off again, and kept from being misused meanwhile. */
export interface Forwarding {
  readonly changes: readonly SysctlChange[]
  readonly opened: Opened
}

const names = z.array(z.string())
const wiring = z.object({ id: z.string(), namespace: z.string(), links: names, addresses: names })
const forwarding = z.object({
  changes: z.array(z.object({ key: z.string(), before: z.string(), after: z.string() })),
  opened: z.object({ 4: names, 6: names }),
})

const PENDING = 'pending/'
const FORWARDING = 'forwarding'

export const pendingWirings = (store: Store): readonly Wiring[] =>
  [...store.state.meta].filter(([id]) => id.startsWith(PENDING)).map(([, value]) => wiring.parse(value))

export const notePending = (value: Wiring): Change => ({
  put: 'meta',
  id: PENDING + value.id,
  value: wiring.parse(value),
})

export const dropPending = (id: string): Change => ({ delete: 'meta', id: PENDING + id })

export const forwardingOf = (store: Store): Forwarding => {
  const value = store.state.meta.get(FORWARDING)
  return value === undefined ? { changes: [], opened: { 4: [], 6: [] } } : forwarding.parse(value)
}

export const noteForwarding = (value: Forwarding): Change => ({
  put: 'meta',
  id: FORWARDING,
  value: forwarding.parse(value),
})

export const dropForwarding = (): Change => ({ delete: 'meta', id: FORWARDING })
