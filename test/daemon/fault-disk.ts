/**
 * A disk in memory that fails and loses power as told. What is written is volatile until it is synced: after a power
 * cut, each write since the last sync may be there, be there in part, or leave zeros; each change of the directory since
 * its last sync may or may not be there, in order.
 */
import { dirname } from 'node:path'
import type { Disk, DiskFile } from '../../src/daemon/store-disk.ts'

export interface Faults {
  /** Operations (counted from 0) that fail with ENOSPC; a write that fails has written a part. */
  readonly fails: (operation: number) => boolean
  /** From this operation on nothing is done any more. */
  readonly powerCut: number
}

type Write = { readonly position: number; readonly bytes: Buffer } | { readonly length: number }
interface Inode {
  durable: Buffer
  current: Buffer
  pending: Write[]
}
type Names = ReadonlyMap<string, Inode>

export interface FaultDisk extends Disk {
  readonly operations: number
  /** What a machine finds that starts after the power cut. `choose` is a source of numbers in [0, 1). */
  afterPowerCut(choose: () => number): FaultDisk
}

export const NO_FAULTS: Faults = { fails: () => false, powerCut: Number.POSITIVE_INFINITY }

export const faultDisk = (faults: Faults, initial: Names = new Map()): FaultDisk => {
  let operations = 0
  let names = new Map(initial)
  /** Directory contents that a power cut may leave: the one last synced, then one for each change. */
  let histories: Names[] = [new Map(names)]

  const step = (partly: () => void = () => undefined): void => {
    const operation = operations++
    if (operation >= faults.powerCut) throw new Error('the power is off')
    if (!faults.fails(operation)) return
    partly()
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', errno: -28 })
  }
  const change = (edit: (draft: Map<string, Inode>) => void): void => {
    names = new Map(names)
    edit(names)
    histories.push(names)
  }
  const write = (inode: Inode, next: Write): void => {
    inode.current = applied(inode.current, next)
    inode.pending.push(next)
  }
  const fileOf = (inode: Inode): DiskFile => ({
    write: async (bytes, position) => {
      step(() => write(inode, { position, bytes: Buffer.from(bytes.subarray(0, bytes.length / 2)) }))
      write(inode, { position, bytes: Buffer.from(bytes) })
    },
    truncate: async length => {
      step()
      write(inode, { length })
    },
    sync: async () => {
      step()
      inode.durable = inode.current
      inode.pending = []
    },
    close: async () => undefined,
  })

  return {
    get operations() {
      return operations
    },
    read: async path => names.get(path)?.current ?? null,
    open: async (path, truncate) => {
      step()
      const inode = names.get(path) ?? { durable: Buffer.alloc(0), current: Buffer.alloc(0), pending: [] }
      if (!names.has(path)) change(draft => draft.set(path, inode))
      if (truncate) write(inode, { length: 0 })
      return fileOf(inode)
    },
    rename: async (from, to) => {
      step()
      const inode = names.get(from) as Inode
      change(draft => {
        draft.delete(from)
        draft.set(to, inode)
      })
    },
    remove: async path => {
      step()
      change(draft => draft.delete(path))
    },
    syncDirectory: async path => {
      step()
      if ([...names.keys()].some(name => dirname(name) === path)) histories = [names]
    },
    afterPowerCut: choose => {
      const left = histories[Math.floor(choose() * histories.length)] as Names
      return faultDisk(
        NO_FAULTS,
        new Map(
          [...left].map(([name, inode]) => {
            const bytes = survivors(inode, choose)
            return [name, { durable: bytes, current: bytes, pending: [] }]
          }),
        ),
      )
    },
  }
}

const applied = (bytes: Buffer, next: Write): Buffer => {
  if ('length' in next) return Buffer.from(bytes.subarray(0, next.length))
  const grown = Buffer.alloc(Math.max(bytes.length, next.position + next.bytes.length))
  bytes.copy(grown)
  next.bytes.copy(grown, next.position)
  return grown
}

/** Each unsynced write: not at all, whole, its first part, or its length with zeros where its first part should be. */
const survivors = (inode: Inode, choose: () => number): Buffer =>
  inode.pending.reduce<Buffer>((bytes, next) => {
    const luck = choose()
    if (luck < 0.2) return bytes
    if ('length' in next || luck < 0.4) return applied(bytes, next)
    const cut = Math.floor(choose() * next.bytes.length)
    if (luck < 0.8) return applied(bytes, { position: next.position, bytes: next.bytes.subarray(0, cut) })
    return applied(bytes, { position: next.position, bytes: Buffer.from(next.bytes).fill(0, 0, cut) })
  }, inode.durable)
