/**
 * Listening sockets of a thread. All threads watch the same sockets (EPOLLEXCLUSIVE: one is woken), level-triggered, and
 * accept a bounded batch at a time. A listener that must not be accepted from is taken out of this thread's epoll, so
 * that nothing spins, while clients wait in its backlog:
 *   - One listener is *paused* when its service has as many connections as it may (all threads together). It resumes when a
 *     connection of the service ends here, and is tried every RETRY ms for those that end elsewhere.
 *   - All are muted when the thread is *full*: no room below the ceiling for one more connection, or no descriptor at
 *     all. A spare one is held back and given up when it comes to that, so that a client that was accepted with
 *     the last descriptor still gets its backend. The thread is full until a spare and a connection fit again, which is
 *     tried when a connection ends, and every RETRY ms; less often with many listeners, for each has to be muted again.
 *
 * A connection wakes one thread, and the others are never told of it. A thread that is full therefore mutes first
 * and says so after (`context.full`); the engine has the others `look`: register anew, which finds what is pending.
 *
 * Descriptors are given out lowest first, so a client's number shows when the table is full up to the ceiling, but not
 * when gaps below it have been filled. Near the number of connections at which the thread was full before, it tries
 * whether another one fits.
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
/** Listeners muted for each millisecond that a full thread waits before it tries again. */
const MUTED_PER_MS = 20
/** Descriptors of a connection. */
const PAIR = 2
const NONE = -1

const EXHAUSTION: ReadonlySet<number> = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM])

export interface Acceptor {
  listen(service: Service): void
  /** Forgets the service's listeners; they are closed elsewhere. */
  drop(service: Service): void
  /** A connection of the service ended. */
  freed(slot: number): void
  /** Another thread is full: connections it was woken for may be pending. */
  look(): void
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
  /** A new descriptor, if `count` fit below the ceiling. */
  const holdOneOf = (count: number): number => {
    const fd = libc.eventfd(0, EFD_CLOEXEC)
    if (fd < 0) return NONE
    if (fd < ceiling) {
      const next = count === 1 ? fd : holdOneOf(count - 1)
      if (next !== NONE) {
        if (next !== fd) libc.close(next)
        return fd
      }
    }
    libc.close(fd)
    return NONE
  }
  const pairFits = (): boolean => {
    const fd = holdOneOf(PAIR)
    if (fd !== NONE) libc.close(fd)
    return fd !== NONE
  }

  /** Never readable: the timer of a full thread. */
  const clock = libc.eventfd(0, EFD_CLOEXEC)
  let spare = libc.eventfd(0, EFD_CLOEXEC)
  let full = false
  let fullUntil = 0
  let connections = 0
  /** From so many connections on it is tried whether another one fits. */
  let tightFrom = Number.POSITIVE_INFINITY
  let complainedAt = Number.NEGATIVE_INFINITY

  const watch = (listener: number, events = EPOLLIN | EPOLLEXCLUSIVE): void => {
    if (loop.add(listener, Kind.tcpListener, events)) return
    throw PortctlError.of('syscall-failed', {
      call: 'epoll_ctl',
      subject: 'listening socket',
      errno: errnoName(libc.errno()),
    })
  }
  watch(clock, 0)

  const forEachUnpaused = (visit: (listener: number) => void): void =>
    loop.forEach(Kind.tcpListener, listener => {
      if (listener !== clock && !paused.has(listener)) visit(listener)
    })

  const complain = (errno: number): void => {
    if (loop.now - complainedAt < COMPLAIN_EVERY) return
    complainedAt = loop.now
    log(`out of resources (${errnoName(errno)}): accepting pauses until connections end`)
  }

  const giveUpSpare = (): void => {
    if (spare === NONE) return
    libc.close(spare)
    spare = NONE
  }

  const becomeFull = (errno: number): void => {
    if (full) return
    full = true
    complain(errno)
    giveUpSpare()
    tightFrom = (connections * 3) >> 2
    let muted = 0
    forEachUnpaused(listener => {
      loop.mute(listener)
      muted++
    })
    const rest = muted / MUTED_PER_MS
    fullUntil = loop.now + rest
    loop.wheel.set(clock, loop.now, Math.max(RETRY, rest))
    context.full()
  }

  /** Ends being full, if there is room again. */
  const recover = (): void => {
    if (loop.now < fullUntil) return
    spare = holdOneOf(1 + PAIR)
    if (spare === NONE) return
    full = false
    loop.wheel.clear(clock)
    forEachUnpaused(listener => watch(listener))
  }

  const pause = (listener: number): void => {
    loop.mute(listener)
    paused.add(listener)
    loop.wheel.set(listener, loop.now, RETRY)
  }

  const resume = (listener: number): void => {
    paused.delete(listener)
    loop.wheel.clear(listener)
    if (!full) watch(listener)
  }

  const acceptOne = (listener: number, slot: number, limit: number): boolean => {
    if (full) return false
    if (Atomics.add(active, slot, 1) >= limit) {
      Atomics.sub(active, slot, 1)
      pause(listener)
      return false
    }
    const client = libc.accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if (client >= 0) {
      const at = slot * COUNTERS + Counter.total
      counters[at] = (counters[at] as number) + 1
      connections++
      accepted(client, slot, table.index[listener] as number)
      if (client + 2 * PAIR > ceiling || (connections >= tightFrom && !pairFits())) becomeFull(EMFILE)
      return true
    }
    const errno = libc.errno()
    Atomics.sub(active, slot, 1)
    if (EXHAUSTION.has(errno)) becomeFull(errno)
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
      if (listener !== clock) resume(listener)
      else {
        recover()
        if (full) loop.wheel.set(clock, loop.now, RETRY)
      }
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
        if (full) loop.mute(listener)
      }
    },
    drop({ listeners }) {
      for (const listener of listeners) {
        paused.delete(listener)
        loop.forget(listener)
      }
    },
    freed(slot) {
      connections--
      if (full) recover()
      for (const listener of paused) if (table.slot[listener] === slot) resume(listener)
    },
    look() {
      if (full) return
      forEachUnpaused(listener => {
        loop.mute(listener)
        watch(listener)
      })
    },
    withSpare(open) {
      const fd = open()
      if (fd >= 0 || !EXHAUSTION.has(-fd) || full) return fd
      becomeFull(-fd)
      return open()
    },
    finish() {
      giveUpSpare()
      loop.close(clock)
    },
  }
}
