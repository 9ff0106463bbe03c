/**
 * Listening sockets of a thread. All threads watch the same descriptors (EPOLLEXCLUSIVE: one is woken), level-triggered, and
 * accept a bounded batch at a time.
 *
 * A listener that must not be accepted from is *paused*: taken out of this thread's epoll, so that nothing spins, while
 * clients wait in its backlog. Two reasons:
 *   - the service has as many connections as it may (all threads together);
 *   - the data path has no descriptor left. A spare one is held back at all times and given up when it comes to that, so that
 *     a client that was accepted with the last descriptor still gets its backend; until a new spare can be had,
 *     the thread accepts nothing.
 * Paused listeners resume when a connection of this thread ends, and are tried every RETRY ms for those of others.
 */

import { PortctlError } from '../../core/errors.ts'
import {
  EAGAIN,
  EFD_CLOEXEC,
  EMFILE,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  EPOLLEXCLUSIVE,
  EPOLLIN,
  errnoName,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
} from '../../kernel/libc/index.ts'
import { Kind } from './loop.ts'
import { COUNTERS, type Context, Counter, type Service } from './services.ts'
import type { TcpTable } from './tcp-table.ts'

/** Connections taken from one listener before everyone else gets a turn. */
const BATCH = 16
/** Milliseconds. */
const RETRY = 50
/** Milliseconds between two log lines about exhaustion. */
const COMPLAIN_EVERY = 60_000
const NONE = -1

const EXHAUSTION: ReadonlySet<number> = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM])

export interface Acceptor {
  listen(service: Service): void
  /** Forgets the service's listeners; they are closed elsewhere. */
  drop(service: Service): void
  /** A connection of the service ended. */
  freed(slot: number): void
  /** Runs `open` (which returns a descriptor or a negated errno), once more with the spare given up when it must. */
  withSpare(open: () => number): number
  finish(): void
}

export const createAcceptor = (
  context: Context,
  table: TcpTable,
  serviceAt: (slot: number) => Service | undefined,
  accepted: (client: number, slot: number, index: number) => void,
): Acceptor => {
  const { libc, loop, active, counters, ceiling, log } = context
  const paused = new Set<number>()
  const makeSpare = (): number => {
    const fd = libc.eventfd(0, EFD_CLOEXEC)
    if (fd < ceiling) return fd
    libc.close(fd)
    return NONE
  }
  let spare = makeSpare()
  let complainedAt = Number.NEGATIVE_INFINITY

  const exhausted = (errno: number): void => {
    if (loop.now - complainedAt < COMPLAIN_EVERY) return
    complainedAt = loop.now
    log(`out of resources (${errnoName(errno)}): accepting pauses until connections end`)
  }

  const giveUpSpare = (): void => {
    if (spare === NONE) return
    libc.close(spare)
    spare = NONE
  }

  const pause = (listener: number): void => {
    loop.mute(listener)
    paused.add(listener)
    loop.wheel.set(listener, loop.now, RETRY)
  }

  const watch = (listener: number): void => {
    if (loop.add(listener, Kind.tcpListener, EPOLLIN | EPOLLEXCLUSIVE)) return
    throw PortctlError.of('syscall-failed', {
      call: 'epoll_ctl',
      subject: 'listening socket',
      errno: errnoName(libc.errno()),
    })
  }

  const resume = (listener: number): void => {
    paused.delete(listener)
    loop.wheel.clear(listener)
    watch(listener)
  }

  /** True when a spare is there (again). */
  const recovered = (): boolean => {
    if (spare === NONE) spare = makeSpare()
    return spare !== NONE
  }

  const acceptOne = (listener: number, slot: number, limit: number): boolean => {
    if (spare === NONE || Atomics.add(active, slot, 1) >= limit) {
      if (spare !== NONE) Atomics.sub(active, slot, 1)
      pause(listener)
      return false
    }
    const client = libc.accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if (client >= 0) {
      const at = slot * COUNTERS + Counter.total
      counters[at] = (counters[at] as number) + 1
      accepted(client, slot, table.index[listener] as number)
      if (client >= ceiling) {
        exhausted(EMFILE)
        giveUpSpare()
      }
      return true
    }
    const errno = libc.errno()
    Atomics.sub(active, slot, 1)
    if (EXHAUSTION.has(errno)) {
      exhausted(errno)
      pause(listener)
    }
    // Errors of the connection itself are reported by accept too (accept(2), "Error handling"): the next may be fine.
    return errno !== EAGAIN && !EXHAUSTION.has(errno)
  }

  loop.handle(Kind.tcpListener, {
    ready(listener) {
      const slot = table.slot[listener] as number
      const limit = serviceAt(slot)?.spec.limits.maxConnections ?? 0
      for (let i = 0; i < BATCH && acceptOne(listener, slot, limit); i++);
    },
    expired(listener) {
      if (recovered()) resume(listener)
      else loop.wheel.set(listener, loop.now, RETRY)
    },
  })

  return {
    listen({ slot, listeners }) {
      for (let index = 0; index < listeners.length; index++) {
        const listener = listeners[index] as number
        loop.reserve(listener)
        table.slot[listener] = slot
        table.index[listener] = index
        watch(listener)
      }
    },
    drop({ listeners }) {
      for (const listener of listeners) {
        paused.delete(listener)
        loop.forget(listener)
      }
    },
    freed(slot) {
      if (paused.size === 0) return
      const starved = spare === NONE
      if (!recovered()) return
      for (const listener of paused) if (starved || table.slot[listener] === slot) resume(listener)
    },
    withSpare(open) {
      const fd = open()
      if (fd >= 0 || !EXHAUSTION.has(-fd) || spare === NONE) return fd
      exhausted(-fd)
      giveUpSpare()
      return open()
    },
    finish: giveUpSpare,
  }
}
