/**
 * The splice engine: sockets by libc over FFI, a loop in each of a few threads, bytes moved by splice(2).
 *
 * Main thread (here): makes and closes listening sockets, gives each service a slot, tells the threads. Threads
 * (worker.ts): accept, connect, relay. Every thread watches every TCP listener; a UDP service belongs to one
 * thread, because its flow table does.
 *
 * Changes are made one after another. `open` binds first and tells the threads after, so what a thread
 * refuses is taken back; `close` tells the threads first, so that no thread meets a descriptor that was closed
 * under it and given to someone else.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PortctlError } from '../../core/errors.ts'
import { type Libc, loadLibc } from '../../kernel/libc/index.ts'
import type { Engine, RelayTarget, ServiceCounters, ServiceSpec } from '../engine.ts'
import type { OpenedService } from './commands.ts'
import { createListeners, type Listeners, raiseOpenFilesLimit } from './listeners.ts'
import { COUNTERS, Counter, MAX_SERVICES } from './services.ts'
import { type DataThread, startThread } from './thread.ts'

export interface SpliceOptions {
  /** Data-path threads, 1 or more. */
  readonly workers?: number
  /** The thread's program; dist/relay-worker.cjs lies beside the bundle that runs. */
  readonly workerFile?: string
  readonly log?: (line: string) => void
}

/** @throws `libc-unavailable` */
export const createSpliceEngine = async (options: SpliceOptions = {}): Promise<Engine> => {
  const libc = await loadLibc()
  raiseOpenFilesLimit(libc, Number(readFileSync('/proc/sys/fs/nr_open', 'utf8')))
  const active = new SharedArrayBuffer(MAX_SERVICES * Int32Array.BYTES_PER_ELEMENT)
  const file = options.workerFile ?? join(__dirname, 'relay-worker.cjs')
  const threads = Array.from({ length: options.workers ?? 1 }, () =>
    startThread(libc, file, active, options.log ?? (() => undefined)),
  )
  return new SpliceEngine(libc, threads, new Int32Array(active))
}

interface Entry extends OpenedService {
  readonly spec: ServiceSpec
  readonly threads: readonly DataThread[]
}

class SpliceEngine implements Engine {
  readonly name = 'splice'
  readonly #threads: readonly DataThread[]
  readonly #active: Int32Array
  readonly #listeners: Listeners
  readonly #entries = new Map<string, Entry>()
  readonly #freeSlots: number[] = []
  #slots = 0
  /** The change in progress; the next one waits for it. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(libc: Libc, threads: readonly DataThread[], active: Int32Array) {
    this.#threads = threads
    this.#active = active
    this.#listeners = createListeners(libc)
  }

  open(services: readonly ServiceSpec[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const { id } of services)
        if (this.#entries.has(id))
          throw PortctlError.of('internal', { what: `service ${id} is open already` })
      const listeners = await this.#listeners.open(services)
      const entries = services.map((spec, i): Entry => {
        const slot = this.#freeSlots.pop() ?? this.#slots++
        return { slot, spec, listeners: listeners[i] as Int32Array, threads: this.#threadsFor(spec, slot) }
      })
      for (const entry of entries) this.#entries.set(entry.spec.id, entry)
      try {
        await this.#tell(entries, (thread, own) =>
          thread.send({
            do: 'open',
            services: own.map(({ slot, spec, listeners }) => ({ slot, spec, listeners })),
          }),
        )
      } catch (error) {
        await this.#drop(entries)
        throw error
      }
    })
  }

  close(ids: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#drop(ids.flatMap(id => this.#entries.get(id) ?? [])))
  }

  retarget(id: string, target: RelayTarget | null): Promise<void> {
    return this.#inTurn(async () => {
      const entry = this.#entries.get(id)
      if (entry === undefined) throw PortctlError.of('internal', { what: `service ${id} is not open` })
      await Promise.all(
        entry.threads.map(thread => thread.send({ do: 'retarget', slot: entry.slot, target })),
      )
      this.#entries.set(id, { ...entry, spec: { ...entry.spec, target } })
    })
  }

  async services(): Promise<readonly ServiceSpec[]> {
    return [...this.#entries.values()].map(entry => entry.spec)
  }

  async counters(): Promise<ReadonlyMap<string, ServiceCounters>> {
    return new Map([...this.#entries.values()].map(({ slot, spec }) => [spec.id, this.#countersOf(slot)]))
  }

  async shutdown(): Promise<void> {
    await this.close([...this.#entries.keys()])
    await this.#inTurn(() => Promise.all(this.#threads.map(thread => thread.stop())))
  }

  #countersOf(slot: number): ServiceCounters {
    const sum = (counter: number): number =>
      this.#threads.reduce(
        (total, { counters }) => total + (counters[slot * COUNTERS + counter] as number),
        0,
      )
    return {
      active: Atomics.load(this.#active, slot),
      total: sum(Counter.total),
      bytesIn: sum(Counter.bytesIn),
      bytesOut: sum(Counter.bytesOut),
    }
  }

  #threadsFor(spec: ServiceSpec, slot: number): readonly DataThread[] {
    return spec.protocol === 'tcp'
      ? this.#threads
      : [this.#threads[slot % this.#threads.length] as DataThread]
  }

  async #drop(entries: readonly Entry[]): Promise<void> {
    for (const { spec } of entries) this.#entries.delete(spec.id)
    await this.#tell(entries, (thread, own) =>
      thread.send({ do: 'close', slots: own.map(({ slot }) => slot) }),
    )
    await this.#listeners.close(entries.map(entry => entry.listeners))
    for (const { slot } of entries) {
      for (const { counters } of this.#threads) counters.fill(0, slot * COUNTERS, (slot + 1) * COUNTERS)
      this.#freeSlots.push(slot)
    }
  }

  /** Tells each thread about those of the entries that it carries; waits for all, fails with the first failure. */
  async #tell(
    entries: readonly Entry[],
    send: (thread: DataThread, own: readonly Entry[]) => Promise<void>,
  ): Promise<void> {
    const outcomes = await Promise.allSettled(
      this.#threads.map(thread => {
        const own = entries.filter(entry => entry.threads.includes(thread))
        return own.length === 0 ? undefined : send(thread, own)
      }),
    )
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(change)
    this.#turn = turn.catch(() => undefined)
    return turn
  }
}
