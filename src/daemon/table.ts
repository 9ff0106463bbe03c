/**
 * The nftables table as control uses it. It exists as long as there is something in it.
 *
 * Control knows what should be there and never asks the kernel what to add. Only when the kernel contradicts —
 * somebody flushed the ruleset, or edited our table — or a killed nft left a doubt is the table read, and put right
 * in one transaction;
 * `align` does the same at start, keeping the counters of what is there already.
 */

import { isDeepStrictEqual } from 'node:util'
import { PortctlError } from '../core/errors.ts'
import type { JsonObject, Nft } from '../kernel/nft.ts'
import { type Desired, type Forward, NOTHING, type Operation } from '../plan/index.ts'
import { type NftCommand, TABLE } from '../plan/nftables.ts'
import { COUNTED, drift, readCounters, readTable, repair, type Traffic } from '../plan/observed.ts'
import { applyAll } from '../plan/operations.ts'
import { commands, replaceTable } from '../plan/ruleset.ts'

const REF = { family: TABLE.family, table: TABLE.name }

/** With more published ports it is cheaper to list only the sets that count something, with an nft each. */
const BULK = 3_000

/** A range that keeps its numbers weighs no more than a single port. */
const weight = ({ ports, toPorts }: Forward): number =>
  ports.first === toPorts.first ? 1 : ports.last - ports.first + 1

const contradicts = (error: unknown): boolean =>
  error instanceof PortctlError && (error.code === 'nft-not-found' || error.code === 'nft-exists')

/** Killed or timed out: nobody knows whether the kernel committed. */
const leavesDoubt = (error: unknown): boolean => error instanceof PortctlError && error.code === 'tool-failed'

export class Table {
  readonly #nft: Nft
  /** What the table holds by our doing. */
  #held: Desired | undefined
  #doubtful = false
  /** The generation of the ruleset in which the table was last known to be whole: seen, or our own next one. */
  #intactAt: number | undefined
  /** The change under way: one at a time, whoever asks for it. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(nft: Nft) {
    this.#nft = nft
  }

  apply(operations: readonly Operation[]): Promise<void> {
    return this.#inTurn(async () => {
      const after = applyAll(this.#held ?? NOTHING, operations)
      if (isDeepStrictEqual(after, NOTHING)) await this.#remove()
      else if (this.#held === undefined) await this.#commit(replaceTable(after))
      else if (this.#doubtful) await this.#repair(after)
      else await this.#change(operations, after)
      this.#held = isDeepStrictEqual(after, NOTHING) ? undefined : after
    })
  }

  /** At start: adopts what an earlier daemon left, changing only what differs. */
  align(desired: Desired): Promise<void> {
    return this.#inTurn(async () => {
      const empty = desired.forwards.length === 0 && desired.networks.length === 0
      if (empty && (await this.#list()) === null) return
      await this.#repair(desired)
      this.#held = desired
    })
  }

  /** Puts the table back when somebody has removed it, or its rules. @returns whether it had to be */
  revive(): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#held === undefined) return false
      const generation = await this.#nft.generation()
      if (generation !== undefined && generation === this.#intactAt) return false
      const { intact } = readTable(await this.#nft.listOutline(REF))
      this.#intactAt = intact ? generation : undefined
      if (!intact) await this.#repair(this.#held)
      return !intact
    })
  }

  /** One listing of the whole table is the cheapest, unless there is much in it. */
  async traffic(): Promise<ReadonlyMap<string, Traffic>> {
    const forwards = this.#held?.forwards ?? []
    if (forwards.length === 0) return new Map()
    const bulk = forwards.reduce((sum, forward) => sum + weight(forward), 0) > BULK
    return readCounters(bulk ? await this.#nft.listSets(REF, COUNTED) : ((await this.#list()) ?? []))
  }

  remove(): Promise<void> {
    return this.#inTurn(() => this.#remove())
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(change)
    this.#turn = turn.catch(error => {
      if (leavesDoubt(error)) this.#doubtful = true
    })
    return turn
  }

  async #change(operations: readonly Operation[], after: Desired): Promise<void> {
    try {
      await this.#commit(commands(operations))
    } catch (error) {
      if (!contradicts(error)) throw error
      await this.#repair(after)
    }
  }

  async #remove(): Promise<void> {
    // Adding a table that is there is no error; deleting one that is not would be.
    if (this.#held !== undefined)
      await this.#commit([{ add: { table: TABLE } }, { delete: { table: TABLE } }])
    this.#held = undefined
  }

  async #repair(desired: Desired): Promise<void> {
    const change = repair(desired, drift(desired, readTable(await this.#list())))
    if (change.length > 0) await this.#commit(change)
    this.#doubtful = false
  }

  async #commit(change: readonly NftCommand[]): Promise<void> {
    const before = this.#intactAt
    this.#intactAt = undefined
    await this.#nft.apply(change)
    if (before === undefined) return
    const now = await this.#nft.generation()
    if (now === before + 1) this.#intactAt = now
  }

  #list(): Promise<readonly JsonObject[] | null> {
    return this.#nft.listTable(REF)
  }
}
