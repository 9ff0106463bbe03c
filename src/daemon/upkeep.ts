/**
 * What control looks after between requests, because others may change it at any time: interfaces that appear, a
 * ruleset that is flushed, services that start or stop answering IPv6. One round at a time; a failed one is logged and
 * the next tries again.
 */
import type { Parts } from './assembly.ts'
import { NOTHING, type Transaction } from './committer.ts'
import { surroundings } from './desired.ts'
import { flowsOf } from './publisher.ts'
import { routeOf } from './route.ts'

/** Milliseconds between two rounds. */
const INTERVAL = 3_000

export class Upkeep {
  readonly #parts: Parts
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    this.#timer = setInterval(() => {
      this.#round ??= this.#run().finally(() => {
        this.#round = undefined
      })
    }, INTERVAL)
    this.#timer.unref()
  }

  /** Resolves when no round is under way and none will be. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#round
  }

  async #run(): Promise<void> {
    const { networks, table, log, noKernelPath } = this.#parts
    try {
      await networks.refreshForwarding()
      if (noKernelPath !== null) return
      if (await table.revive()) log.warn('the nftables table was gone; it is back')
      await followServices(this.#parts)
    } catch (err) {
      log.error({ err }, 'upkeep failed')
    }
  }
}

/** Moves IPv6 between the kernel path and the relay as services begin or cease to answer it. */
const followServices = async ({ store, committer, ipv4Only, log }: Parts): Promise<void> => {
  const { publications, containers } = store.state
  for (const [publication, only] of await ipv4Only.changes(publications.values(), containers)) {
    const { id } = publication
    const way = (answer: boolean) =>
      routeOf(publication, { ...surroundings(store, true, ipv4Only), ipv4Only: () => answer }).forward
    const plan = (): Transaction => {
      const [before, after] = [way(!only), way(only)]
      if (!publications.has(id) || ipv4Only.has(id) === only) return NOTHING
      return {
        ...NOTHING,
        operations: [
          ...(before === null ? [] : [{ op: 'remove-forward' as const, forward: before }]),
          ...(after === null ? [] : [{ op: 'add-forward' as const, forward: after }]),
        ],
        flush: [flowsOf(publication)],
        applied: () => ipv4Only.set(id, only),
      }
    }
    await committer.submit(plan, { alone: true })
    log.info({ publication: id, ipv6: only ? 'relay' : 'kernel' }, 'IPv6 clients take another way')
  }
}
