/**
 * The nftables table as control uses it. It exists as long as there is something in it.
 *
 * Control knows what should be there and never asks the kernel what to add. Only when the kernel contradicts —
 * somebody flushed the ruleset, or edited our table — is the table read, and put right in one transaction;
 * `align` does the same at start, keeping the counters of what is there already.
 */

import { isDeepStrictEqual } from 'node:util'
import { PortctlError } from '../core/errors.ts'
import type { JsonObject, Nft } from '../kernel/nft.ts'
import { type Desired, NOTHING, type Operation } from '../plan/index.ts'
import { TABLE } from '../plan/nftables.ts'
import { COUNTED, drift, readCounters, readTable, repair, type Traffic } from '../plan/observed.ts'
import { apply } from '../plan/operations.ts'
import { commands, replaceTable } from '../plan/ruleset.ts'

const REF = { family: TABLE.family, table: TABLE.name }

/** Ports of a shifted range, each an element of its own, from which it is cheaper to list set by set. */
const BULK = 2_000

const contradicts = (error: unknown): boolean =>
  error instanceof PortctlError && (error.code === 'nft-not-found' || error.code === 'nft-exists')

export class Table {
  readonly #nft: Nft
  /** What the table holds by our doing. */
  #held: Desired | undefined

  constructor(nft: Nft) {
    this.#nft = nft
  }

  async apply(operations: readonly Operation[]): Promise<void> {
    const after = operations.reduce(apply, this.#held ?? NOTHING)
    if (isDeepStrictEqual(after, NOTHING)) return this.remove()
    if (this.#held === undefined) await this.#nft.apply(replaceTable(after))
    else {
      try {
        await this.#nft.apply(commands(operations))
      } catch (error) {
        if (!contradicts(error)) throw error
        await this.#repair(after)
      }
    }
    this.#held = after
  }

  /** At start: adopts what an earlier daemon left, changing only what differs. */
  async align(desired: Desired): Promise<void> {
    const empty = desired.forwards.length === 0 && desired.networks.length === 0
    if (empty && (await this.#list()) === null) return
    await this.#repair(desired)
    this.#held = desired
  }

  /** Puts the table back when somebody has removed it. @returns whether it had to be */
  async revive(): Promise<boolean> {
    if (this.#held === undefined) return false
    if ((await this.#nft.listSets(REF, [{ name: 'bridges', kind: 'set' }])).length > 0) return false
    await this.#repair(this.#held)
    return true
  }

  /** One listing of the whole table is the cheapest, unless shifted ranges have filled it with what does not count. */
  async traffic(): Promise<ReadonlyMap<string, Traffic>> {
    const forwards = this.#held?.forwards ?? []
    if (forwards.length === 0) return new Map()
    const bulk = forwards.some(
      ({ ports, toPorts }) => ports.first !== toPorts.first && ports.last - ports.first > BULK,
    )
    return readCounters(bulk ? await this.#nft.listSets(REF, COUNTED) : ((await this.#list()) ?? []))
  }

  async remove(): Promise<void> {
    // Adding a table that is there is no error; deleting one that is not would be.
    if (this.#held !== undefined)
      await this.#nft.apply([{ add: { table: TABLE } }, { delete: { table: TABLE } }])
    this.#held = undefined
  }

  async #repair(desired: Desired): Promise<void> {
    const change = repair(desired, drift(desired, readTable(await this.#list())))
    if (change.length > 0) await this.#nft.apply(change)
  }

  #list(): Promise<readonly JsonObject[] | null> {
    return this.#nft.listTable(REF)
  }
}
