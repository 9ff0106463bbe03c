/**
 * Publications that last as long as their client (`publish --foreground`). It publishes, then holds: when that connection
 * closes they are taken back, each by itself, so that one that is gone already doesn't keep the rest. A client that was
 * killed before it could hold leaves publications that nobody comes for: these are taken back after HOLD_WITHIN.
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
  readonly #expected = new Map<string, NodeJS.Timeout>()
  readonly #holders = new Set<ServerResponse>()
  #closing = false

  constructor(service: Pick<Service, 'unpublish'>, log: Logger) {
    this.#service = service
    this.#log = log
  }

  /** Somebody is going to hold these. */
  expect(ids: readonly string[]): void {
    for (const id of ids)
      this.#expected.set(
        id,
        setTimeout(() => {
          this.#expected.delete(id)
          void this.#takeBack(id)
        }, HOLD_WITHIN),
      )
  }

  hold(ids: readonly string[], holder: ServerResponse): void {
    for (const id of ids) this.#forget(id)
    this.#holders.add(holder)
    holder.on('close', () => {
      this.#holders.delete(holder)
      if (!this.#closing) void Promise.all(ids.map(id => this.#takeBack(id)))
    })
  }

  close(): void {
    this.#closing = true
    for (const holder of this.#holders) holder.destroy()
    for (const id of [...this.#expected.keys()]) this.#forget(id)
  }

  #forget(id: string): void {
    clearTimeout(this.#expected.get(id))
    this.#expected.delete(id)
  }

  async #takeBack(id: string): Promise<void> {
    try {
      await this.#service.unpublish({ refs: [id] })
    } catch (err) {
      this.#log.info({ err, publication: id }, 'the holder has gone, its publication was not taken back')
    }
  }
}
