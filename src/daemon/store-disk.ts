/** What the store needs of a file system, so that tests can cut and fail it anywhere. */
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises'

export interface Disk {
  /** null: there is no such file. */
  read(path: string): Promise<Buffer | null>
  /** Opens for writing, makes the file when it is missing; `truncate` empties it. */
  open(path: string, truncate: boolean): Promise<DiskFile>
  rename(from: string, to: string): Promise<void>
  /** No error when there is no such file. */
  remove(path: string): Promise<void>
  /** fsync of a directory: makes its entries durable. */
  syncDirectory(path: string): Promise<void>
}

export interface DiskFile {
  /** All of `bytes` at `position`, or rejects with some of them written. */
  write(bytes: Buffer, position: number): Promise<void>
  truncate(length: number): Promise<void>
  /** fdatasync(2): the bytes and the length. */
  sync(): Promise<void>
  close(): Promise<void>
}

const FILE_MODE = 0o600

export const realDisk: Disk = {
  read: async path => {
    try {
      return await readFile(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  },
  open: async (path, truncate) => {
    if (truncate) return diskFile(await open(path, 'w', FILE_MODE))
    return diskFile(await open(path, 'r+'))
  },
  rename,
  remove: path => rm(path, { force: true }),
  syncDirectory: async path => {
    const directory = await open(path, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  },
}

const diskFile = (handle: FileHandle): DiskFile => ({
  write: async (bytes, position) => {
    let done = 0
    // write(2) may take less than it was given, on a disk that is filling up for one.
    while (done < bytes.length) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
      done += bytesWritten
    }
  },
  truncate: length => handle.truncate(length),
  sync: () => handle.datasync(),
  close: () => handle.close(),
})
