/**
 * The state store: what was asked of this daemon, as it was acknowledged.
 *
 * One file, `journal`, in $PORTCTL_STATE_DIR (store-journal.ts: its bytes, store-records.ts: their meaning,
 * store-file.ts: how it stays whole). State is the sum of its records.
 *
 * Commit: changes wait in a queue; one writer takes all that wait, appends them as one record, syncs it, applies them
 * to the maps and resolves their callers. So a commit is atomic, concurrent ones share a sync, and nobody sees a change
 * that is not durable. When the write fails, all who share it are rejected with `state-write-failed`, and maps and
 * journal stay as they were.
 *
 * Compaction: a journal with many more changes than there are entries is replaced by one that only puts the entries. A
 * compaction that fails costs nothing but space, and is tried again when the journal has doubled.
 *
 * One process at a time: guarded by the lock of the state directory (lock.ts).
 */
import { dirname, join } from 'node:path'
import * as z from 'zod'
import { PortctlError } from '../core/errors.ts'
import { describeFault } from '../core/os-error.ts'
import { type Disk, realDisk } from './store-disk.ts'
import { JournalFile } from './store-file.ts'
import type { Journal } from './store-journal.ts'
import {
  applyChanges,
  type Change,
  decodeGroup,
  emptyRecords,
  FORMAT,
  isFormat,
  type Records,
  type State,
  snapshot,
} from './store-records.ts'

export type { Change, State } from './store-records.ts'

/** Compaction waits for this many changes, */
const COMPACT_FROM = 4096
/** and for this many times as many as there are entries. */
const COMPACT_FACTOR = 4
/** Changes in a record of a compacted journal. */
const SNAPSHOT_GROUP = 256

interface Waiting {
  readonly changes: readonly Change[]
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

/** @throws state-corrupt, state-unreadable, state-write-failed */
export const openStore = async (dir: string, disk: Disk = realDisk): Promise<Store> => {
  const file = new JournalFile(disk, join(dir, 'journal'))
  const records = emptyRecords()
  const journal = await file.read().catch((cause: unknown) => {
    throw PortctlError.of('state-unreadable', { path: file.path, why: describeFault(cause) }, { cause })
  })
  const changes = journal === null ? 0 : load(journal, file.path, records)
  await writing(file, async () => {
    if (journal !== null) return file.resume(journal)
    await file.replace([FORMAT])
    // The state directory itself may be new.
    await disk.syncDirectory(dirname(dir))
  })
  return new Store(file, records, changes)
}

/** Fills the records and returns how many changes that took. */
const load = (journal: Journal, path: string, records: Records): number => {
  const corrupt = (offset: number, why: string) =>
    PortctlError.of('state-corrupt', { file: path, offset, why })
  if (journal.damage !== null) throw corrupt(journal.damage.offset, journal.damage.why)
  const [first, ...groups] = journal.records
  if (first === undefined || !isFormat(first.payload))
    throw corrupt(0, 'it does not begin as a journal of portctl')
  let count = 0
  for (const { offset, payload } of groups) {
    try {
      const changes = decodeGroup(payload)
      applyChanges(records, changes)
      count += changes.length
    } catch (error) {
      throw corrupt(offset, error instanceof z.ZodError ? z.prettifyError(error) : String(error))
    }
  }
  return count
}

const writing = async (file: JournalFile, action: () => Promise<void>): Promise<void> => {
  try {
    await action()
  } catch (cause) {
    throw PortctlError.of('state-write-failed', { file: file.path, why: describeFault(cause) }, { cause })
  }
}

export class Store {
  readonly #file: JournalFile
  readonly #records: Records
  /** In the journal. */
  #changes: number
  #compactAt = COMPACT_FROM
  #queue: Waiting[] = []
  #running: Promise<void> | null = null
  #closed = false

  constructor(file: JournalFile, records: Records, changes: number) {
    this.#file = file
    this.#records = records
    this.#changes = changes
  }

  /** Live maps: they change right before a commit resolves. */
  get state(): State {
    return this.#records
  }

  /** All of the changes or none; resolves once they are durable. @throws state-write-failed */
  async commit(changes: readonly Change[]): Promise<void> {
    if (this.#closed) {
      throw PortctlError.of('state-write-failed', { file: this.#file.path, why: 'the store is closed' })
    }
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ changes, resolve, reject })
      this.#running ??= this.#drain()
    })
  }

  /** Waits for commits under way; later ones are rejected. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
    await this.#file.close()
  }

  async #drain(): Promise<void> {
    // Lets callers of the same turn join the first group.
    await Promise.resolve()
    while (this.#queue.length > 0) {
      const group = this.#queue
      this.#queue = []
      const changes = group.flatMap(waiting => waiting.changes)
      try {
        await writing(this.#file, () => this.#append(changes))
        applyChanges(this.#records, changes)
        for (const waiting of group) waiting.resolve()
      } catch (error) {
        for (const waiting of group) waiting.reject(error)
      }
      await this.#compact()
    }
    this.#running = null
  }

  async #append(changes: readonly Change[]): Promise<void> {
    if (!this.#file.trusted) await this.#replace()
    await this.#file.append(changes)
    this.#changes += changes.length
  }

  async #compact(): Promise<void> {
    if (this.#changes < this.#compactAt || this.#changes < COMPACT_FACTOR * this.#entries) return
    try {
      await this.#replace()
      this.#compactAt = COMPACT_FROM
    } catch {
      this.#compactAt = 2 * this.#changes
    }
  }

  async #replace(): Promise<void> {
    await this.#file.replace([FORMAT, ...snapshot(this.#records, SNAPSHOT_GROUP)])
    this.#changes = this.#entries
  }

  get #entries(): number {
    return Object.values(this.#records).reduce((sum, map) => sum + map.size, 0)
  }
}
