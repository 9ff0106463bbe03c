/**
 * The splice engine: sockets by libc over FFI, a loop in each of a few threads, bytes moved by splice(2).
 *
 * Main thread (here): decides where listening sockets live (placement.ts), makes and closes those of the process's
 * table, gives each service a slot, tells the threads. Threads (worker.ts), each with a descriptor table of its own where that
 * works (descriptors.ts): accept, connect, relay. Every ordinary thread watches every TCP listener of the process; a UDP
 * service belongs to one thread, because its flow table does. An annex alone watches what it holds.
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
import { ceilingOf, listenersUnder, raiseOpenFilesLimit } from './descriptors.ts'
import { createListeners, type Listeners, socketsOf } from './listeners.ts'
import { type Placement, placeServices } from './placement.ts'
import { COUNTERS, Counter, MAX_SERVICES } from './services.ts'
import { PASSAGES } from './tcp-loops.ts'
import { type DataThread, startThread, type ThreadOptions } from './thread.ts'
import { UDP_PASSAGES_BYTES } from './udp-loops.ts'

export interface SpliceOptions {
  /** Data-path threads, 1 or more. */
  readonly workers?: number
  /** The thread's program; dist/relay-worker.cjs lies beside the bundle that runs. */
  readonly workerFile?: string
  /** Open files per descriptor table; the process's limit, raised as far as it goes, by default. */
  readonly openFiles?: number
  readonly log?: (line: string) => void
}

/** @throws `libc-unavailable` */
export const createSpliceEngine = async (options: SpliceOptions = {}): Promise<Engine> => {
  const libc = await loadLibc()
  const most = Number(readFileSync('/proc/sys/fs/nr_open', 'utf8'))
  const limit = options.openFiles ?? raiseOpenFilesLimit(libc, most)
  return new SpliceEngine(libc, options.workers ?? 1, limit, {
    workerFile: options.workerFile ?? join(__dirname, 'relay-worker.cjs'),
    shared: {
      active: new SharedArrayBuffer(MAX_SERVICES * Int32Array.BYTES_PER_ELEMENT),
      published: new SharedArrayBuffer(PORTS * Uint16Array.BYTES_PER_ELEMENT),
      passages: new SharedArrayBuffer(PASSAGES * Int32Array.BYTES_PER_ELEMENT),
      udpPassages: new SharedArrayBuffer(UDP_PASSAGES_BYTES),
    },
    ceiling: ceilingOf(limit),
    log: options.log ?? (() => undefined),
  })
}

const PORTS = 65_536

/** What one thread does for a service. */
interface Part {
  readonly thread: DataThread
  readonly spec: ServiceSpec
  /** null: the thread is an annex and holds them itself. */
  readonly listeners: Int32Array | null
}

interface Entry {
  readonly slot: number
  readonly spec: ServiceSpec
  readonly parts: readonly Part[]
  /** In the process's table. */
  readonly listeners: Int32Array | null
}

interface Annex {
  readonly thread: DataThread
  /** Listeners it holds. */
  held: number
}

class SpliceEngine implements Engine {
  readonly name = 'splice'
  readonly #libc: Libc
  readonly #options: ThreadOptions
  readonly #limit: number
  readonly #room: number
  readonly #threads: readonly DataThread[]
  /** Made when needed, kept until the end. */
  readonly #annexes: Annex[] = []
  readonly #active: Int32Array
  readonly #published: Uint16Array
  readonly #listeners: Listeners
  /** Listeners in the process's table. */
  #held = 0
  readonly #entries = new Map<string, Entry>()
  readonly #freeSlots: number[] = []
  #slots = 0
  /** The change in progress; the next one waits for it. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(libc: Libc, workers: number, limit: number, options: ThreadOptions) {
    this.#libc = libc
    this.#options = options
    this.#limit = limit
    this.#room = listenersUnder(options.ceiling)
    this.#active = new Int32Array(options.shared.active)
    this.#published = new Uint16Array(options.shared.published)
    this.#listeners = createListeners(libc)
    this.#threads = Array.from({ length: workers }, (_, at) =>
      startThread(libc, false, options, () => {
        for (const other of this.#threads) if (other !== this.#threads[at]) other.look()
      }),
    )
  }

  open(services: readonly ServiceSpec[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const { id } of services)
        if (this.#entries.has(id))
          throw PortctlError.of('internal', { what: `service ${id} is open already` })
      const placements = placeServices(services, {
        here: this.#room - this.#held,
        annexes: this.#annexes.map(({ held }) => this.#room - held),
        newAnnex: this.#room,
        limit: this.#limit,
      })
      const made = await this.#listeners.openAll(
        placements.filter(({ here }) => here).map(({ spec }) => spec),
      )
      const entries = placements.map(placement =>
        this.#entry(placement, placement.here ? made.shift() : undefined),
      )
      for (const entry of entries) this.#account(entry, 1)
      try {
        await this.#tell(entries, (thread, own) => thread.send({ do: 'open', services: own }))
      } catch (error) {
        await this.#drop(entries)
        throw error
      }
    })
  }

  close(ids: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#drop([...new Set(ids)].flatMap(id => this.#entries.get(id) ?? [])))
  }

  retarget(id: string, target: RelayTarget | null): Promise<void> {
    return this.#inTurn(async () => {
      const entry = this.#entries.get(id)
      if (entry === undefined) throw PortctlError.of('internal', { what: `service ${id} is not open` })
      await this.#tell([entry], thread => thread.send({ do: 'retarget', slot: entry.slot, target }))
      this.#entries.set(id, { ...entry, spec: { ...entry.spec, target } })
    })
  }

  async services(): Promise<readonly ServiceSpec[]> {
    return [...this.#entries.values()].map(entry => entry.spec)
  }

  async counters(): Promise<ReadonlyMap<string, ServiceCounters>> {
    return new Map([...this.#entries.values()].map(entry => [entry.spec.id, this.#countersOf(entry)]))
  }

  async shutdown(): Promise<void> {
    await this.close([...this.#entries.keys()])
    await this.#inTurn(() => Promise.all(this.#allThreads().map(thread => thread.stop())))
  }

  #allThreads(): readonly DataThread[] {
    return [...this.#threads, ...this.#annexes.map(({ thread }) => thread)]
  }

  #entry({ spec, parts }: Placement, listeners: Int32Array | undefined): Entry {
    const slot = this.#freeSlots.pop() ?? this.#slots++
    if (listeners === undefined) {
      const own = parts.map(part => ({
        thread: this.#annex(part.annex).thread,
        spec: part.spec,
        listeners: null,
      }))
      return { slot, spec, parts: own, listeners: null }
    }
    const threads =
      spec.protocol === 'tcp' ? this.#threads : [this.#threads[slot % this.#threads.length] as DataThread]
    return { slot, spec, parts: threads.map(thread => ({ thread, spec, listeners })), listeners }
  }

  #annex(number: number): Annex {
    while (this.#annexes.length <= number)
      this.#annexes.push({ thread: startThread(this.#libc, true, this.#options), held: 0 })
    return this.#annexes[number] as Annex
  }

  /** Counts a service in (1) or out (−1). */
  #account(entry: Entry, by: 1 | -1): void {
    const { spec, parts, listeners } = entry
    if (by === 1) this.#entries.set(spec.id, entry)
    else this.#entries.delete(spec.id)
    if (listeners !== null) this.#held += by * listeners.length
    for (const annex of this.#annexes)
      for (const part of parts) if (part.thread === annex.thread) annex.held += by * socketsOf(part.spec)
    if (spec.protocol === 'tcp')
      for (let port = spec.ports.first; port <= spec.ports.last; port++)
        this.#published[port] = (this.#published[port] as number) + by
  }

  async #drop(entries: readonly Entry[]): Promise<void> {
    await this.#tell(entries, (thread, own) =>
      thread.send({ do: 'close', slots: own.map(({ slot }) => slot) }),
    )
    await this.#listeners.closeAll(entries.flatMap(({ listeners }) => listeners ?? []))
    for (const entry of entries) {
      this.#account(entry, -1)
      for (const { counters } of this.#allThreads())
        counters.fill(0, entry.slot * COUNTERS, (entry.slot + 1) * COUNTERS)
      this.#freeSlots.push(entry.slot)
    }
  }

  #countersOf({ slot, parts }: Entry): ServiceCounters {
    const sum = (counter: number): number =>
      parts.reduce((total, { thread }) => total + (thread.counters[slot * COUNTERS + counter] as number), 0)
    return {
      active: Atomics.load(this.#active, slot),
      total: sum(Counter.total),
      bytesIn: sum(Counter.bytesIn),
      bytesOut: sum(Counter.bytesOut),
    }
  }

  /** Tells each thread about its parts of the entries; waits for all, fails with the first failure. */
  async #tell(
    entries: readonly Entry[],
    send: (
      thread: DataThread,
      own: readonly (Pick<Part, 'spec' | 'listeners'> & { slot: number })[],
    ) => Promise<void>,
  ): Promise<void> {
    const outcomes = await Promise.allSettled(
      this.#allThreads().map(thread => {
        const own = entries.flatMap(({ slot, parts }) =>
          parts.flatMap(part =>
            part.thread === thread ? { slot, spec: part.spec, listeners: part.listeners } : [],
          ),
        )
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
