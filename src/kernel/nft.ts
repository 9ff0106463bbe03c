/**
 * nftables as a transaction of JSON commands (libnftables-json(5)) handed to `nft -j -f -`.
 *
 * One call is one run of nft and one kernel transaction: all of it or nothing. So a dry check (`-c`) before it, which
 * takes as long as the transaction itself, would protect from nothing.
 * The kernel is never asked what to add: desired state is known, listing serves counters and drift only.
 * nft does not say which of several commands failed in JSON mode, so errors are classified by text, here only.
 */
import { PortctlError } from '../core/errors.ts'
import { type Execute, execute, firstLine, type RunOptions } from './process.ts'

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject
export interface JsonObject {
  readonly [key: string]: JsonValue
}

/** One command (`{add: …}`, `{delete: …}`, `{flush: …}`) or one listed object (`{table: …}`, `{rule: …}`). */
export type NftCommand = JsonObject
export type NftObject = JsonObject

export interface TableRef {
  readonly family: 'ip' | 'ip6' | 'inet'
  readonly table: string
}

/** A named set or map; nft lists each only under its own kind. */
interface SetRef {
  readonly name: string
  readonly kind: 'set' | 'map'
}

export interface Nft {
  /** Commits all commands as one transaction; when one of them cannot be, nothing is changed. */
  apply(commands: readonly NftCommand[], options?: RunOptions): Promise<void>
  /** Everything in a table, without the `metainfo` object; null when there is no such table. */
  listTable(ref: TableRef): Promise<readonly NftObject[] | null>
  /** The same without elements; nft 1.0.6 fetches them all the same. */
  listOutline(ref: TableRef): Promise<readonly NftObject[] | null>
  /** A number that each transaction anybody commits raises by one; undefined when it cannot be had. */
  generation(): Promise<number | undefined>
  /** These sets and maps with their elements and counters; what is not there is left out. One nft each. */
  listSets(ref: TableRef, sets: readonly SetRef[]): Promise<readonly NftObject[]>
  /** Rejects with the reason why nftables cannot be used here: `tool-missing`, `nft-denied`, `nft-failed`. */
  probe(): Promise<void>
}

const isNotFound = (error: unknown): boolean =>
  error instanceof PortctlError && error.code === 'nft-not-found'

/** `internal:0:0-0: Error: Could not process rule: File exists` → `File exists`. */
const bareMessage = (stderr: string): string =>
  firstLine(stderr).replace(/^(\S*:\d+:\d+-\d+: )?(netlink: )?(Error: )?(Could not process rule: )?/, '')

const CLASSES = [
  [/Operation not permitted|Permission denied|must be root/, 'nft-denied'],
  [/File exists|interval overlaps|conflicting/, 'nft-exists'],
  [/No such file or directory|does not exist/, 'nft-not-found'],
] as const

export const classifyNftError = (stderr: string): PortctlError => {
  const why = bareMessage(stderr) || 'it gave no reason'
  const code = CLASSES.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'nft-failed'
  return PortctlError.of(code, { why })
}

/** @param generation of the namespace that `how` runs nft in */
export const createNft = (
  how: Execute = execute,
  generation = async (): Promise<number | undefined> => undefined,
): Nft => {
  const nft = async (args: readonly string[], options?: RunOptions): Promise<string> => {
    const { exitCode, stdout, stderr } = await how('nft', ['-j', ...args], options)
    if (exitCode !== 0) throw classifyNftError(stderr)
    return stdout
  }
  const list = async (...what: string[]): Promise<readonly NftObject[] | null> => {
    try {
      return parseListing(await nft(what))
    } catch (error) {
      if (isNotFound(error)) return null
      throw error
    }
  }
  return {
    apply: async (commands, options) => {
      if (commands.length === 0) return
      await nft(['-f', '-'], { ...options, input: JSON.stringify({ nftables: commands }) })
    },
    listTable: ref => list('list', 'table', ref.family, ref.table),
    listOutline: ref => list('-t', 'list', 'table', ref.family, ref.table),
    generation,
    listSets: async (ref, sets) => {
      // Several lists in one nft run confuse the cache of 1.0.6 ("No such file or directory" for all but the last).
      const listings = await Promise.all(
        sets.map(({ kind, name }) => list('list', kind, ref.family, ref.table, name)),
      )
      return listings.flatMap(listing => listing ?? [])
    },
    probe: async () => {
      // Listing tables needs CAP_NET_ADMIN; JSON support is a build option of nft.
      await nft(['list', 'tables'])
    },
  }
}

const parseListing = (stdout: string): readonly NftObject[] => {
  const { nftables } = JSON.parse(stdout) as { readonly nftables: readonly NftObject[] }
  return nftables.filter(object => !('metainfo' in object))
}
