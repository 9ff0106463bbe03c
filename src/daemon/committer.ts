/**
 * How a change reaches the world: one transaction at a time, and all that queue up while one is under way go
 * together in the next one — one message to the relay, one nft run, one fsync.
 *
 * What a transaction costs hardly depends on its size, so the next one waits for callers that the last one answered
 * and that ask again at once: until as many are queued as were then answered and already waiting, or none has come
 * for PAUSE, or for LINGER in all. Otherwise those who keep asking fall into groups that wait for each other's
 * transaction. A caller who is alone never waits.
 *
 * Order within a transaction, and why:
 *   1. relay: open listeners   bind(2) finds conflicts while nothing else has changed
 *   2. nft: apply operations   atomic by itself
 *   3. store: commit           durable before acknowledged
 *   4. relay: close listeners  nothing new can arrive: its rules are gone
 *   5. conntrack: flush        flows that the old rules made must not outlive them
 * A failure in 1–3 undoes the steps before it, in reverse. Failures in 4–5 can't be undone and take nothing away
 * from the caller: they are logged, and what they leave is found by the next start (restore.ts).
 *
 * When a batch fails, its members are tried one by one, so that one bad request never fails its neighbours.
 */
import type { PortRange, Protocol } from '../core/address.ts'
import type { Operation } from '../plan/index.ts'
import type { ServiceSpec } from '../relay/engine.ts'
import type { Change } from './store.ts'

export interface FlowTuple {
  readonly protocol: Protocol
  readonly hostIps: readonly string[]
  readonly ports: PortRange
}

export interface Transaction {
  readonly open: readonly ServiceSpec[]
  readonly operations: readonly Operation[]
  readonly changes: readonly Change[]
  readonly close: readonly string[]
  readonly flush: readonly FlowTuple[]
  /** Called in the same turn in which the change has come into force, before the next plan is evaluated. */
  readonly applied?: () => void
}

/** To build transactions from. */
export const NOTHING: Transaction = { open: [], operations: [], changes: [], close: [], flush: [] }

/** The four things a transaction touches. */
export interface World {
  openServices(services: readonly ServiceSpec[]): Promise<void>
  closeServices(ids: readonly string[]): Promise<void>
  applyRules(operations: readonly Operation[]): Promise<void>
  invert(operation: Operation): Operation
  commit(changes: readonly Change[]): Promise<void>
  flushFlows(tuples: readonly FlowTuple[]): Promise<void>
  warn(what: string, cause: unknown): void
}

/**
 * Evaluated when its turn comes, so that it sees what the transactions before it have changed. May throw: then nothing is
 * done. One that goes `alone` may take its time, and act by itself: no transaction is under way meanwhile.
 */
export type Plan = () => Transaction | Promise<Transaction>

interface Job {
  readonly plan: Plan
  readonly alone: boolean
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

/** Bounds one nft transaction and one relay message, not throughput. */
const BATCH = 256
/** Milliseconds; a transaction takes about 15. */
const PAUSE = 5
const LINGER = 25

const merge = (transactions: readonly Transaction[]): Transaction => ({
  open: transactions.flatMap(t => t.open),
  operations: transactions.flatMap(t => t.operations),
  changes: transactions.flatMap(t => t.changes),
  close: transactions.flatMap(t => t.close),
  flush: transactions.flatMap(t => t.flush),
  applied: () => {
    for (const { applied } of transactions) applied?.()
  },
})

export class Committer {
  readonly #world: World
  #queue: Job[] = []
  #draining: Promise<void> | undefined
  /** Callers that are likely to be queued soon, and until when that is likely. */
  #expected = 0
  #expectedUntil = 0
  /** Called when one more is queued. */
  #onJoin: (() => void) | undefined

  constructor(world: World) {
    this.#world = world
  }

  /**
   * Resolves when the change is in force and durable; rejects, with nothing left behind, when it is not.
   * Plans that go together in a batch don't see each other: one that replaces what another may remove goes `alone`.
   */
  submit(plan: Plan, { alone = false } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ plan, alone, resolve, reject })
      this.#onJoin?.()
      this.#draining ??= this.#drain()
    })
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#draining
  }

  async #drain(): Promise<void> {
    // One turn of the event loop lets requests that arrived together share the first batch.
    await new Promise(resolve => setImmediate(resolve))
    while (this.#queue.length > 0) {
      await this.#gather()
      const jobs = this.#nextBatch()
      try {
        await this.#apply(merge(await Promise.all(jobs.map(job => job.plan()))))
        for (const job of jobs) job.resolve()
      } catch (error) {
        if (jobs.length === 1) jobs[0]?.reject(error)
        else for (const job of jobs) await this.#applyOne(job)
      }
      this.#expected = jobs.length + this.#queue.length
      this.#expectedUntil = performance.now() + LINGER
    }
    // In the same turn as the last look at the queue: a submit from a caller just resolved starts a new drain.
    this.#draining = undefined
  }

  get #complete(): boolean {
    const { length } = this.#queue
    const full = length >= BATCH || this.#queue.some(job => job.alone)
    return full || length >= this.#expected || performance.now() >= this.#expectedUntil
  }

  async #gather(): Promise<void> {
    if (this.#complete) return
    await new Promise<void>(resolve => {
      const pause = setTimeout(resolve, PAUSE)
      this.#onJoin = () => {
        if (!this.#complete) {
          pause.refresh()
          return
        }
        clearTimeout(pause)
        resolve()
      }
    })
    this.#onJoin = undefined
  }

  #nextBatch(): readonly Job[] {
    const first = this.#queue.findIndex(job => job.alone)
    const length = first < 0 ? BATCH : Math.max(first, 1)
    return this.#queue.splice(0, Math.min(length, BATCH))
  }

  async #applyOne({ plan, resolve, reject }: Job): Promise<void> {
    try {
      await this.#apply(await plan())
      resolve()
    } catch (error) {
      reject(error)
    }
  }

  async #apply(transaction: Transaction): Promise<void> {
    const { open, operations, changes, close, flush, applied } = transaction
    const world = this.#world
    const undo: Array<() => Promise<void>> = []
    try {
      if (open.length > 0) {
        await world.openServices(open)
        undo.push(() => world.closeServices(open.map(service => service.id)))
      }
      if (operations.length > 0) {
        await world.applyRules(operations)
        undo.push(() => world.applyRules(operations.toReversed().map(world.invert)))
      }
      if (changes.length > 0) await world.commit(changes)
    } catch (error) {
      for (const step of undo.reverse())
        await step().catch(cause => world.warn('a failed change could not be undone', cause))
      throw error
    }
    applied?.()
    if (close.length > 0)
      await world.closeServices(close).catch(cause => world.warn('listeners could not be closed', cause))
    if (flush.length > 0)
      await world.flushFlows(flush).catch(cause => world.warn('old flows could not be flushed', cause))
  }
}
