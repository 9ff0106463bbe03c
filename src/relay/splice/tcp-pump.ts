/**
 * Moves the bytes of one direction (from `s` to its peer `d`) until one end has nothing more to do.
 *
 * Small messages are copied: one recv into a buffer that all connections share and that stays in cache, one send.
 * A read that comes back short has emptied the socket, so there is no second recv to be told EAGAIN: whatever
 * arrives later is a new edge. This inference fails after FIN (no further edge) and around urgent data (recv stops at
 * its mark); both are announced by epoll and set `exact`, and then only 0 or EAGAIN ends the reading.
 *
 * A read that fills the buffer turns the direction to bulk: splice from socket to pipe to socket. It turns
 * back when a burst was smaller than that buffer. In bulk, EAGAIN from the socket while the pipe is not empty could
 * mean either is to blame, so the pipe is always emptied first, and only an empty pipe's EAGAIN means drained.
 *
 * Back-pressure: bytes that `d` does not take are held in a pipe (where no pipe can be had, in a buffer of that
 * connection's), and `s` is not read until they are gone. Hence a direction holds one pipe or 16 KiB at most.
 */
import {
  EAGAIN,
  EINTR,
  MSG_NOSIGNAL,
  type Pinned,
  SHUT_WR,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
} from '../../kernel/libc/index.ts'
import type { PipePool } from './pipes.ts'
import { COUNTERS, type Context, Counter } from './services.ts'
import { Flag, NONE, type TcpTable } from './tcp-table.ts'

/** Size of the shared buffer; a read that fills it makes the direction bulk. */
const CHUNK = 16 * 1024
const SPLICE_BYTES = 1 << 20
const SPLICE_FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK
/** Reads of one direction before everyone else gets a turn. */
const ROUNDS = 4

export interface Ends {
  /** Both directions are at their end: close without RST. */
  finished(fd: number): void
  /** Close both with RST. */
  broken(fd: number): void
}

export interface Pump {
  run(s: number): void
  /** Gives back what the direction of `s` holds. */
  release(s: number): void
}

export const createPump = (context: Context, table: TcpTable, pipes: PipePool, ends: Ends): Pump => {
  const { libc, loop, counters } = context
  const hot = libc.pin(CHUNK)
  /** Leftovers of directions that could not get a pipe; the rule is that there are none. */
  const stashes = new Map<number, { readonly memory: Pinned; sent: number }>()

  const count = (s: number, bytes: number): void => {
    const side = ((table.flags[s] as number) & Flag.client) === 0 ? Counter.bytesOut : Counter.bytesIn
    const at = (table.slot[s] as number) * COUNTERS + side
    counters[at] = (counters[at] as number) + bytes
    table.moved[s] = loop.now
  }

  const set = (fd: number, bits: number): void => {
    table.flags[fd] = (table.flags[fd] as number) | bits
  }
  const clear = (fd: number, bits: number): void => {
    table.flags[fd] = (table.flags[fd] as number) & ~bits
  }

  /** Everything read before the end has been passed on: pass on the end. */
  const finish = (s: number, d: number): void => {
    release(s)
    set(s, Flag.done)
    if (((table.flags[d] as number) & Flag.done) !== 0) ends.finished(s)
    else if (libc.shutdown(d, SHUT_WR) < 0) ends.broken(s)
  }

  const release = (s: number): void => {
    const pipe = table.pipe[s] as number
    if (pipe !== NONE) pipes.give(pipe, table.held[s] === 0)
    else if ((table.held[s] as number) > 0) stashes.delete(s)
    table.pipe[s] = NONE
    table.held[s] = 0
  }

  /** A read returned nothing: 0 is the end, EAGAIN the end for now, anything else a broken connection. */
  const nothing = (s: number, d: number, n: number, errno: number): void => {
    if (n === 0) finish(s, d)
    else if (errno === EAGAIN) clear(s, Flag.readable)
    else if (errno === EINTR) loop.again(s)
    else ends.broken(s)
  }

  /** Keeps `size` bytes of the shared buffer that `d` did not take. */
  const hold = (s: number, from: number, size: number): void => {
    const pipe = pipes.take()
    if (pipe !== NONE) {
      // A new pipe has room for a page at least; what does not fit is kept as if there were no pipe.
      if (libc.write(pipes.writer(pipe), hot.address + from, size) === size) {
        table.pipe[s] = pipe
        table.held[s] = size
        return
      }
      pipes.give(pipe, false)
    }
    const memory = libc.pin(size)
    memory.bytes.set(hot.bytes.subarray(from, from + size))
    stashes.set(s, { memory, sent: 0 })
    table.held[s] = size
  }

  /** Gives held bytes to `d`; true when none are left. */
  const deliver = (s: number, d: number): boolean => {
    const pipe = table.pipe[s] as number
    for (let held = table.held[s] as number; held > 0; held = table.held[s] as number) {
      if (((table.flags[d] as number) & Flag.writable) === 0) return false
      const stash = pipe === NONE ? stashes.get(s) : undefined
      const n =
        stash === undefined
          ? libc.splice(pipes.reader(pipe), 0, d, 0, held, SPLICE_FLAGS)
          : libc.send(d, stash.memory.address + stash.sent, held, MSG_NOSIGNAL)
      if (n > 0) {
        table.held[s] = held - n
        if (stash !== undefined) stash.sent += n
        count(s, n)
      } else if (n < 0 && libc.errno() === EAGAIN) {
        clear(d, Flag.writable)
      } else if (n === 0 || libc.errno() !== EINTR) {
        ends.broken(s)
        return false
      }
    }
    release(s)
    return true
  }

  /** One read and send through the shared buffer; bytes read, 0 when there is no point in going on. */
  const copy = (s: number, d: number): number => {
    const n = libc.recv(s, hot.address, CHUNK, 0)
    if (n <= 0) {
      nothing(s, d, n, n < 0 ? libc.errno() : 0)
      return 0
    }
    if (n === CHUNK) set(s, Flag.bulk)
    else if (((table.flags[s] as number) & Flag.exact) === 0) clear(s, Flag.readable)
    const sent = libc.send(d, hot.address, n, MSG_NOSIGNAL)
    if (sent < 0 && libc.errno() !== EAGAIN && libc.errno() !== EINTR) {
      ends.broken(s)
      return 0
    }
    if (sent > 0) count(s, sent)
    if (sent < n) hold(s, Math.max(sent, 0), n - Math.max(sent, 0))
    return n
  }

  /** One splice from the socket into an empty pipe; bytes taken, 0 when there is no point in going on. */
  const fill = (s: number, d: number, pipe: number, burst: number): number => {
    const n = libc.splice(s, 0, pipes.writer(pipe), 0, SPLICE_BYTES, SPLICE_FLAGS)
    if (n > 0) {
      table.pipe[s] = pipe
      table.held[s] = n
      return n
    }
    const errno = n < 0 ? libc.errno() : 0
    pipes.give(pipe, true)
    if (burst < CHUNK) clear(s, Flag.bulk)
    nothing(s, d, n, errno)
    return 0
  }

  const run = (s: number): void => {
    const d = table.peer[s] as number
    const settled = (table.flags[d] as number) | (table.flags[s] as number)
    if ((settled & Flag.connecting) !== 0 || ((table.flags[s] as number) & Flag.done) !== 0) return
    let burst = 0
    for (let round = 0; round < ROUNDS; round++) {
      if (!deliver(s, d)) return
      const flags = table.flags[s] as number
      if ((flags & Flag.readable) === 0 || ((table.flags[d] as number) & Flag.writable) === 0) return
      const pipe = (flags & (Flag.bulk | Flag.urgent)) === Flag.bulk ? pipes.take() : NONE
      const n = pipe === NONE ? copy(s, d) : fill(s, d, pipe, burst)
      if (n === 0) return
      burst += n
    }
    loop.again(s)
  }

  return { run, release }
}
