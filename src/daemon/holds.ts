/**
 * Publications that last as long as their client (`publish --foreground`). It publishes, then holds: when that connection
 * closes they are taken back, in one go; those that are gone already don't keep the rest. A client that was killed before
 * it could hold leaves publications that nobody comes for: these are taken back after HOLD_WITHIN.
 *
 * Not when the server closes: what then happens to publications is the daemon's decision.
 */
import type { ServerResponse } from 'node:http'
import type { Service } from '../api/views.ts'
import type { Logger } from './logging.ts'

/** Milliseconds from the answer to the request that holds what it tells. */
const HOLD_WITHIN = 5_000

export class Holds {
  readonly #service: Pick<Service, 'unpublish'>
  readonly #log: Logger
  readonly #expected = new Set<string>()
  readonly #holders = new Set<ServerResponse>()
  #closing = false

  constructor(service: Pick<Service, 'unpublish'>, log: Logger) {
    this.#service = service
    this.#log = log
  }

  /** Somebody is going to hold these. */
  expect(ids: readonly string[]): void {
    for (const id of ids) this.#expected.add(id)
    setTimeout(() => void this.#takeBack(ids.filter(id => this.#expected.delete(id))), HOLD_WITHIN).unref()
  }

  /** Of a holder that has hung up already nothing more will be heard: what it was to hold goes at once. */
  hold(ids: readonly string[], holder: ServerResponse): void {
    for (const id of ids) this.#expected.delete(id)
    const release = () => {
      this.#holders.delete(holder)
      void this.#takeBack(ids)
    }
    if (holder.destroyed) release()
    else {
      this.#holders.add(holder)
      holder.on('close', release)
    }
  }

  close(): void {
    this.#closing = true
    for (const holder of this.#holders) holder.destroy()
  }

  async #takeBack(ids: readonly string[]): Promise<void> {
    if (this.#closing || ids.length === 0) return
    try {
      await this.#service.unpublish({ refs: ids, missingOk: true })
    } catch (err) {
      this.#log.error({ err, publications: ids }, 'nobody holds these any more, and they were not taken back')
    }
  }
}
