/**
 * Keeps a TCP connection from circling through our services until no descriptor is left.
 *
 * A service may lead to another one on this host. Then the relay's own outgoing connection is accepted by the relay, in any of
 * its threads: the two ends agree on the source's address and port and on the port that listens. Such connections are
 * *marked*, with the number of services passed, in a table that all threads share; an accepted connection that is to
 * leave for a service again is looked up there, and goes no further than MAX_HOPS.
 *
 * Only where a connection may come back is anything of this done: the target is an address of this host, and a
 * service listens on the port. All others pay one look at a number.
 *
 * Invariants: marking happens under the lock together with connect(2), because over loopback the other end may be accepted
 * before connect(2) returns; looking up takes the lock too. A mark lasts until its socket is closed, and a
 * client that was reset before it was accepted is not served: it may have lost its mark.
 */
import { AF_INET, EADDRNOTAVAIL, SOCKADDR_SIZE } from '../../kernel/libc/index.ts'
import { MAX_HOPS } from '../loops.ts'
import type { Context } from './services.ts'
import type { Route } from './tcp-connect.ts'
import { grown } from './wheel.ts'

const PORTS = 65_536
/** Marked connections that may have one source port: they differ in the other end. */
const WAYS = 8

/**
 * Words of the shared table: WAYS for each source port. A mark holds its number of hops (1…8) in the lowest bits and a hash of
 * the rest above; 0 is free. Word 0, of port 0, which no connection has, is the lock.
 */
export const PASSAGES = PORTS * WAYS
const LOCK = 0
const HOP_BITS = 0xf

export interface LoopGuard {
  /** Whether a connection by this route to `port` may be accepted by a service of ours. */
  mayReturn(route: Route, port: number): boolean
  /** Services that a client of the listener on `port` has passed, or −1 when it must go no further. */
  hopsOf(client: number, port: number): number
  /** Runs `open`, which starts a connection to `port`, and marks it; a descriptor or a negated errno. */
  marked(open: () => number, port: number, hops: number): number
  /** The descriptor has been closed. */
  closed(fd: number): void
}

export const createLoopGuard = ({ libc, loop, published, passages }: Context): LoopGuard => {
  // A sockaddr, then its length for getsockname(2).
  const sockaddr = libc.pin(SOCKADDR_SIZE + 4)
  const words = new Int32Array(sockaddr.bytes.buffer)
  /** Descriptor → index of its mark, 0 for none. */
  let marks = new Int32Array(0)
  loop.onGrow(capacity => {
    marks = grown(marks, capacity)
  })

  const lock = (): void => {
    while (Atomics.compareExchange(passages, LOCK, 0, 1) !== 0) Atomics.wait(passages, LOCK, 1)
  }
  const unlock = (): void => {
    Atomics.store(passages, LOCK, 0)
    Atomics.notify(passages, LOCK, 1)
  }

  /** Of the address in `sockaddr` and the listener's port; the lowest bits are free. */
  const hash = (port: number): number => {
    const v4 = ((words[0] as number) & 0xffff) === AF_INET
    let sum = port
    for (let i = v4 ? 1 : 2, end = v4 ? 2 : 6; i < end; i++) {
      sum = Math.imul(sum ^ (words[i] as number), 0x9e37_79b1)
      sum ^= sum >>> 15
    }
    return sum & ~HOP_BITS
  }

  const firstWay = (): number => sockaddr.view.getUint16(2) * WAYS

  const mayReturn = ({ locality }: Route, port: number): boolean =>
    published[port] !== 0 && locality.isHere(loop.now)

  const hopsOf = (client: number, port: number): number => {
    const { address } = sockaddr
    words[SOCKADDR_SIZE / 4] = SOCKADDR_SIZE
    if (libc.getpeername(client, address, address + SOCKADDR_SIZE) < 0) return -1
    const wanted = hash(port)
    const first = firstWay()
    let hops = 0
    lock()
    for (let way = first; way < first + WAYS; way++) {
      const mark = Atomics.load(passages, way)
      if (mark !== 0 && (mark & ~HOP_BITS) === wanted) hops = Math.max(hops, mark & HOP_BITS)
    }
    unlock()
    return hops < MAX_HOPS ? hops : -1
  }

  /** False when there is no room for it. */
  const mark = (fd: number, port: number, hops: number): boolean => {
    const { address } = sockaddr
    words[SOCKADDR_SIZE / 4] = SOCKADDR_SIZE
    if (libc.getsockname(fd, address, address + SOCKADDR_SIZE) < 0) return false
    const made = hash(port) | (hops + 1)
    const first = firstWay()
    for (let way = first; way < first + WAYS; way++)
      if (Atomics.compareExchange(passages, way, 0, made) === 0) {
        marks[fd] = way
        return true
      }
    return false
  }

  const marked = (open: () => number, port: number, hops: number): number => {
    lock()
    try {
      const fd = open()
      if (fd < 0) return fd
      loop.reserve(fd)
      if (mark(fd, port, hops)) return fd
      libc.close(fd)
      return -EADDRNOTAVAIL
    } finally {
      unlock()
    }
  }

  const closed = (fd: number): void => {
    const at = marks[fd] as number
    if (at === 0) return
    marks[fd] = 0
    Atomics.store(passages, at, 0)
  }

  return { mayReturn, hopsOf, marked, closed }
}
