/**
 * State of every TCP descriptor of a thread, in typed arrays indexed by descriptor: 30 bytes each, no object.
 *
 * A connection is two descriptors, client and backend, that name each other in `peer`. A *direction* is named by
 * the descriptor it is read from: `pipe`, `held` and most flags of fd are about bytes on their way from fd to
 * its peer. Listeners use `slot` and `index` only.
 */
import type { Loop } from './loop.ts'
import { grown } from './wheel.ts'

export const NONE = -1

/** Bits of `flags`. */
export const Flag = {
  client: 1 << 0,
  /** connect(2) has not finished. */
  connecting: 1 << 1,
  /** There may be bytes, or an end, to read: cleared by EAGAIN or a short read. */
  readable: 1 << 2,
  /** There may be room to write: cleared by EAGAIN. */
  writable: 1 << 3,
  /** FIN or urgent data was announced: a short read no longer proves that nothing is left (see tcp-pump.ts). */
  exact: 1 << 4,
  /** The direction moves by splice. */
  bulk: 1 << 5,
  /** Urgent data was seen: splice(2) stops at its mark for ever, so the direction is copied from now on. */
  urgent: 1 << 6,
  /** The end was read, and FIN passed on: nothing more comes from here. */
  done: 1 << 7,
  /** The target's alternative address has been tried (on the client). */
  retried: 1 << 8,
} as const

export class TcpTable {
  flags = new Uint16Array()
  peer = new Int32Array()
  /** The service's slot. */
  slot = new Int32Array()
  /** Index of the listener within its service; it decides the target port. */
  index = new Int32Array()
  /** Number of the pipe that the direction holds, or NONE. */
  pipe = new Int32Array()
  /** Bytes taken from fd and not yet given to its peer. */
  held = new Int32Array()
  /** When the direction last moved bytes, ms of the loop's clock. */
  moved = new Float64Array()

  constructor(loop: Loop) {
    loop.onGrow(capacity => {
      this.flags = grown(this.flags, capacity)
      this.peer = grown(this.peer, capacity)
      this.slot = grown(this.slot, capacity)
      this.index = grown(this.index, capacity)
      this.pipe = grown(this.pipe, capacity)
      this.held = grown(this.held, capacity)
      this.moved = grown(this.moved, capacity)
    })
  }

  /** A fresh connected (or connecting) socket; the loop has room for it. */
  reset(fd: number, flags: number, slot: number, index: number, now: number): void {
    this.flags[fd] = flags
    this.peer[fd] = NONE
    this.slot[fd] = slot
    this.index[fd] = index
    this.pipe[fd] = NONE
    this.held[fd] = 0
    this.moved[fd] = now
  }
}
