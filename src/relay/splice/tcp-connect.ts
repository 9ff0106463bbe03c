/**
 * Opens sockets towards targets, in another network namespace when the target says so (netns-socket.ts).
 *
 * Source ports: normally the kernel chooses. A port on which someone listens is of no use for that, so a
 * published range that covers net.ipv4.ip_local_port_range leaves it none (EADDRNOTAVAIL, after a long search). Then we
 * choose from the ports that nothing is published on, and do not ask the kernel again for a while.
 */

import type { ProcessRef } from '../../core/process-identity.ts'
import {
  AF_INET,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EINPROGRESS,
  IPPROTO_TCP,
  type Pinned,
  SO_KEEPALIVE,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKADDR_IN_SIZE,
  SOCKADDR_IN6_SIZE,
  SOCKADDR_SIZE,
  SOL_SOCKET,
  socketOptions,
  TCP_NODELAY,
  writeSockaddr,
} from '../../kernel/libc/index.ts'
import type { RelayTarget } from '../engine.ts'
import { Locality } from './locality.ts'
import { type Place, socketMaker } from './netns-socket.ts'
import type { Context } from './services.ts'

/** A target with its addresses ready for connect(2). */
export interface Route {
  readonly first: Pinned
  readonly second: Pinned | undefined
  readonly netns: string | undefined
  readonly process: ProcessRef | undefined
  readonly locality: Locality
}

export interface Connector {
  routeTo(target: RelayTarget): Route
  /** A socket on its way to `address` (of the route) and `port`, or the negated errno. */
  connect(route: Route, address: Pinned, port: number): number
}

const HERE: Place = {}
const FIRST_PORT = 1024
const PORTS = 65_536
/** Source ports tried for one connection. */
const TRIES = 32
/** Milliseconds during which the kernel is not asked for a source port after it had none. */
const EXHAUSTED = 1000

export const createConnector = (context: Context): Connector => {
  const { libc, loop, published } = context
  const options = socketOptions(libc)
  const anywhere = libc.pin(SOCKADDR_SIZE)
  const makeSocket = socketMaker(libc)
  let exhaustedUntil = 0
  let candidate = FIRST_PORT

  const sockaddr = (address: string): Pinned => {
    const mem = libc.pin(SOCKADDR_SIZE)
    writeSockaddr(libc, mem, 0, { address, port: 0 })
    return mem
  }

  const routeTo = (target: RelayTarget): Route => ({
    first: sockaddr(target.address),
    second: target.alternative === undefined ? undefined : sockaddr(target.alternative),
    netns: target.netns,
    process: target.process,
    locality: new Locality(libc, target),
  })

  const socket = (family: number, place: Place): number => {
    const fd = makeSocket(place, family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    if (fd < 0) return -libc.errno()
    options.setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    options.setInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
    return fd
  }

  const nextCandidate = (): number => {
    for (let step = 0; step < PORTS; step++) {
      candidate = candidate + 1 < PORTS ? candidate + 1 : FIRST_PORT
      if (published[candidate] === 0) return candidate
    }
    return 0
  }

  /** 0 or the errno of connect(2); EINPROGRESS counts as 0. */
  const start = (fd: number, address: Pinned, length: number): number => {
    if (libc.connect(fd, address.address, length) === 0) return 0
    const errno = libc.errno()
    return errno === EINPROGRESS ? 0 : errno
  }

  const connectFromFreePort = (family: number, address: Pinned, length: number): number => {
    anywhere.view.setUint16(0, family, true)
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const fd = socket(family, HERE)
      if (fd < 0) return fd
      // Several destinations may share a source port: the connections differ in the other end.
      options.setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1)
      anywhere.view.setUint16(2, nextCandidate())
      const errno = libc.bind(fd, anywhere.address, length) < 0 ? libc.errno() : start(fd, address, length)
      if (errno === 0) return fd
      libc.close(fd)
      if (errno !== EADDRINUSE && errno !== EADDRNOTAVAIL) return -errno
    }
    return -EADDRNOTAVAIL
  }

  const connect = (route: Route, address: Pinned, port: number): number => {
    const family = address.view.getUint16(0, true)
    const length = family === AF_INET ? SOCKADDR_IN_SIZE : SOCKADDR_IN6_SIZE
    address.view.setUint16(2, port)
    const ours = route.netns === undefined
    if (ours && loop.now < exhaustedUntil) return connectFromFreePort(family, address, length)
    const fd = socket(family, route)
    if (fd < 0) return fd
    const errno = start(fd, address, length)
    if (errno === 0) return fd
    libc.close(fd)
    if (errno !== EADDRNOTAVAIL || !ours) return -errno
    exhaustedUntil = loop.now + EXHAUSTED
    return connectFromFreePort(family, address, length)
  }

  return { routeTo, connect }
}
