/**
 * The journal as a file: appended to, or replaced as a whole.
 *
 * Invariants: `size` counts whole, durable records; a rejected append leaves no byte of its record behind that a later
 * read would take for one. When that can't be had (the cut failed, or a sync failed, after which the kernel takes
 * dirty pages for clean: fsync(2), NOTES), `trusted` is false and only `replace` may follow.
 *
 * `replace` writes `journal.new`, syncs it, renames it over `journal` and syncs the directory. Until the rename the old
 * journal stands untouched; from the rename to the end of the directory's sync it is unknown which of the two a crash
 * would leave, hence not trusted. The first journal is made the same way, so its first record is never torn.
 */
import { dirname } from 'node:path'
import type { Disk, DiskFile } from './store-disk.ts'
import { decodeJournal, encodeRecord, type Journal } from './store-journal.ts'

export class JournalFile {
  readonly path: string
  readonly #disk: Disk
  #file: DiskFile | null = null
  #size = 0
  #trusted = false

  constructor(disk: Disk, path: string) {
    this.#disk = disk
    this.path = path
  }

  get trusted(): boolean {
    return this.#trusted
  }

  /** null: there is none yet. */
  async read(): Promise<Journal | null> {
    const bytes = await this.#disk.read(this.path)
    return bytes === null ? null : decodeJournal(bytes)
  }

  /** Goes on with the journal that was read; a torn record at its end is cut off. */
  async resume(journal: Journal): Promise<void> {
    this.#file = await this.#disk.open(this.path, false)
    this.#size = journal.length
    await this.#disk.remove(this.#newPath)
    await this.#file.truncate(this.#size)
    await this.#file.sync()
    this.#trusted = true
  }

  async append(payload: unknown): Promise<void> {
    const file = this.#file as DiskFile
    const record = encodeRecord(payload)
    try {
      await file.write(record, this.#size)
    } catch (error) {
      await this.#cutBack(file)
      throw error
    }
    try {
      await file.sync()
    } catch (error) {
      await this.#cutBack(file)
      this.#trusted = false
      throw error
    }
    this.#size += record.length
  }

  async replace(payloads: Iterable<unknown>): Promise<void> {
    const next = await this.#disk.open(this.#newPath, true)
    let size = 0
    try {
      for (const payload of payloads) {
        const record = encodeRecord(payload)
        await next.write(record, size)
        size += record.length
      }
      await next.sync()
      await this.#disk.rename(this.#newPath, this.path)
    } catch (error) {
      await ignoreErrors(next.close())
      await ignoreErrors(this.#disk.remove(this.#newPath))
      throw error
    }
    this.#trusted = false
    if (this.#file !== null) await ignoreErrors(this.#file.close())
    this.#file = next
    this.#size = size
    await this.#disk.syncDirectory(dirname(this.path))
    this.#trusted = true
  }

  async close(): Promise<void> {
    await this.#file?.close()
    this.#file = null
  }

  get #newPath(): string {
    return `${this.path}.new`
  }

  async #cutBack(file: DiskFile): Promise<void> {
    try {
      await file.truncate(this.#size)
      await file.sync()
    } catch {
      this.#trusted = false
    }
  }
}

/** For tidying up after an error that is about to be thrown. */
const ignoreErrors = async (attempt: Promise<void>): Promise<void> => {
  await attempt.catch(() => undefined)
}
