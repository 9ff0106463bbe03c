/**
 * Keeps one relay process at control's side.
 *
 * Life cycle: at start the relay of an earlier control is adopted if one answers on relay.sock; otherwise one is
 * spawned. When the relay dies, its listeners die with it: a new one is spawned at once and given every service
 * again. When control dies, the relay goes on (it is in a session of its own).
 *
 * Invariant: after `align` the relay serves exactly the services given: same id and same specification stays
 * untouched (its connections live on), the rest is closed, what is missing is opened.
 */
import { existsSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { asPortctlError, PortctlError } from '../core/errors.ts'
import {
  connectRelay,
  type RelayClient,
  relaySocket,
  type SpawnRelayOptions,
  spawnRelay,
} from '../relay/client.ts'
import type { ServiceCounters, ServiceSpec } from '../relay/engine.ts'

interface SupervisorOptions extends SpawnRelayOptions {
  readonly log: Logger
  /** Every service there should be; asked when the relay had to be started anew. */
  readonly desired: () => readonly ServiceSpec[]
  /** Runs it while no transaction is under way. */
  readonly alone: (work: () => Promise<void>) => Promise<void>
}

export class RelaySupervisor {
  readonly #options: SupervisorOptions
  #relay: RelayClient | undefined
  #stopping = false
  #adopted = false
  #started: Promise<void> = Promise.resolve()
  /** Services that there should be and that could not be opened. */
  failures: ReadonlyMap<string, PortctlError> = new Map()

  private constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** Goes on in the background, as a relay takes its time: `started` tells when there is one. */
  static start(options: SupervisorOptions): RelaySupervisor {
    const supervisor = new RelaySupervisor(options)
    supervisor.#started = supervisor.#begin()
    // It is awaited later, if everything else goes well.
    supervisor.#started.catch(() => undefined)
    return supervisor
  }

  async #begin(): Promise<void> {
    const { runDir, log } = this.#options
    const socket = relaySocket(runDir)
    // Looked at first: without an earlier relay the new one is on its way before anything else gets its turn.
    const adopted = existsSync(socket) ? await connectRelay(socket).catch(() => undefined) : undefined
    if (adopted !== undefined) {
      log.info({ relayPid: adopted.pid }, 'relay adopted')
      this.#adopted = true
    }
    this.#watch(adopted ?? (await spawnRelay(this.#options)))
  }

  /** @throws `relay-start-failed`, `relay-running` */
  get started(): Promise<void> {
    return this.#started
  }

  get pid(): number | null {
    return this.#relay?.pid ?? null
  }

  get engine(): string | null {
    return this.#relay?.engine ?? null
  }

  async open(services: readonly ServiceSpec[]): Promise<void> {
    await this.#certain(() => this.#current().open(services))
  }

  async close(ids: readonly string[]): Promise<void> {
    await this.#certain(() => this.#current().close(ids))
  }

  /** A call that got no answer may have been carried out all the same: then the relay is put right when it answers again. */
  async #certain<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      if (asPortctlError(error).code === 'relay-timeout') void this.#settle()
      throw error
    }
  }

  #settling = false

  async #settle(): Promise<void> {
    if (this.#settling) return
    this.#settling = true
    const { alone, desired, log } = this.#options
    for (let settled = false; !settled && !this.#stopping && this.#relay !== undefined; )
      settled = await alone(() => this.align(desired())).then(
        () => true,
        err => {
          log.warn({ err }, 'the relay does not answer')
          return false
        },
      )
    this.#settling = false
  }

  async counters(): Promise<ReadonlyMap<string, ServiceCounters>> {
    return this.#relay === undefined ? new Map() : await this.#relay.counters()
  }

  /** What could not be opened is logged and stands in `failures`. */
  async align(desired: readonly ServiceSpec[]): Promise<void> {
    const relay = this.#current()
    const wanted = new Map(desired.map(service => [service.id, service]))
    const stale: string[] = []
    for (const service of await relay.services()) {
      if (isDeepStrictEqual(wanted.get(service.id), service)) wanted.delete(service.id)
      else stale.push(service.id)
    }
    if (stale.length > 0) await relay.close(stale)
    const missing = [...wanted.values()]
    const failures = new Map<string, PortctlError>()
    this.failures = failures
    if (missing.length === 0) return
    try {
      await relay.open(missing)
    } catch {
      // All or nothing: find out which ones can't be had, and open the rest.
      for (const service of missing)
        await relay.open([service]).catch((error: unknown) => {
          failures.set(service.id, asPortctlError(error))
          this.#options.log.error({ err: error, service: service.id }, 'a service could not be opened')
        })
    }
  }

  /** Control could not start: a relay that it has just spawned goes with it, one that was there before stays. */
  async abandon(): Promise<void> {
    await this.#started.catch(() => undefined)
    if (this.#adopted) this.leave()
    else await this.shutdown()
  }

  /** Control goes, the relay stays. */
  leave(): void {
    this.#stopping = true
    this.#relay?.disconnect()
  }

  /** Ends the relay with every connection it carries. */
  async shutdown(): Promise<void> {
    this.#stopping = true
    await this.#relay?.shutdown()
    this.#relay?.disconnect()
  }

  #current(): RelayClient {
    if (this.#relay === undefined) throw PortctlError.of('relay-unavailable', {})
    return this.#relay
  }

  #watch(relay: RelayClient): void {
    this.#relay = relay
    void relay.closed.then(() => {
      if (this.#relay === relay) this.#relay = undefined
      if (!this.#stopping) void this.#restart()
    })
  }

  async #restart(): Promise<void> {
    const { log, desired, alone } = this.#options
    log.error('the relay ended; starting another')
    for (let delay = 100; !this.#stopping; delay = Math.min(delay * 2, 5_000)) {
      try {
        this.#watch(await spawnRelay(this.#options))
        // A transaction that had opened listeners in the relay that died is durable by then, or undone.
        await alone(() => this.align(desired()))
        return
      } catch (error) {
        log.error({ err: error, retryInMs: delay }, 'the relay could not be started')
        await new Promise(resolve => setTimeout(resolve, delay))
      }
    }
  }
}
