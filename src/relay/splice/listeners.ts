/**
 * Listening sockets of services, made on the main thread for the process's table, on an annex for its own; a thread with a
 * table of its own that serves the process's listeners has copies of them (descriptors.ts). They are numbers in an array, one array a service, on shared memory, so that 40,000
 * ports cost 40,000 numbers. The main thread works in slices between which it answers others.
 */
import { setImmediate } from 'node:timers/promises'
import { PortctlError } from '../../core/errors.ts'
import {
  AF_INET6,
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAFNOSUPPORT,
  EMFILE,
  ENFILE,
  EPERM,
  errnoName,
  familyOf,
  IP_PKTINFO,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_TCP,
  IPV6_RECVPKTINFO,
  IPV6_V6ONLY,
  type Libc,
  type Pinned,
  SO_KEEPALIVE,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKADDR_SIZE,
  SOL_SOCKET,
  type SocketOptions,
  socketOptions,
  TCP_NODELAY,
  writeSockaddr,
} from '../../kernel/libc/index.ts'
import type { ServiceSpec } from '../engine.ts'
import { type Borrow, openFilesLimit } from './descriptors.ts'

/** Sockets made or closed before the main thread may do something else; some 10 ms. */
const SLICE = 1024
/** What listen(2) is asked for; the kernel caps it at net.core.somaxconn. */
const BACKLOG = 4096

export interface Listeners {
  /** A service's sockets: address `a`, port `first + i` at `a × ports + i`. All or none. @throws as Engine.open */
  open(spec: ServiceSpec): Int32Array
  close(listeners: Int32Array): void
  /** The process's sockets in this thread's table. All or none. @throws `fd-limit` */
  copy(listeners: Int32Array, borrow: Borrow): Int32Array
  /** The same for many, in slices. */
  openAll(specs: readonly ServiceSpec[]): Promise<Int32Array[]>
  closeAll(listeners: readonly Int32Array[]): Promise<void>
}

export const createListeners = (libc: Libc): Listeners => {
  const options = socketOptions(libc)
  const sockaddr = libc.pin(SOCKADDR_SIZE)

  /** Makes one socket after another, and takes them all back when one fails. */
  const make = function* (spec: ServiceSpec): Generator<undefined, Int32Array> {
    const listeners = new Int32Array(new SharedArrayBuffer(4 * socketsOf(spec)))
    const ports = portsOf(spec)
    let index = 0
    try {
      for (; index < listeners.length; index++) {
        const address = spec.addresses[Math.floor(index / ports)] as string
        const where = { address, port: spec.ports.first + (index % ports), protocol: spec.protocol }
        const length = writeSockaddr(libc, sockaddr, 0, where)
        listeners[index] = listenOn(libc, options, sockaddr, length, where, listeners.length - index)
        yield
      }
    } catch (error) {
      close(listeners.subarray(0, index))
      throw error
    }
    return listeners
  }

  const open = (spec: ServiceSpec): Int32Array => {
    const making = make(spec)
    let step = making.next()
    while (step.done !== true) step = making.next()
    return step.value
  }

  const close = (listeners: Int32Array): void => {
    for (const fd of listeners) libc.close(fd)
  }

  const copy = (listeners: Int32Array, borrow: Borrow): Int32Array => {
    const copies = new Int32Array(listeners.length)
    for (let index = 0; index < listeners.length; index++) {
      const fd = borrow(listeners[index] as number)
      if (fd < 0) {
        const errno = libc.errno()
        close(copies.subarray(0, index))
        if (errno === EMFILE || errno === ENFILE)
          throw PortctlError.of('fd-limit', { needed: listeners.length - index, limit: openFilesLimit(libc) })
        throw PortctlError.of('syscall-failed', {
          call: 'pidfd_getfd',
          subject: 'listening socket',
          errno: errnoName(errno),
        })
      }
      copies[index] = fd
    }
    return copies
  }

  const openAll = async (specs: readonly ServiceSpec[]): Promise<Int32Array[]> => {
    const opened: Int32Array[] = []
    let made = 0
    try {
      for (const spec of specs) {
        const making = make(spec)
        let step = making.next()
        for (; step.done !== true; step = making.next()) if (++made % SLICE === 0) await setImmediate()
        opened.push(step.value)
      }
    } catch (error) {
      await closeAll(opened)
      throw error
    }
    return opened
  }

  const closeAll = async (listeners: readonly Int32Array[]): Promise<void> => {
    let closed = 0
    for (const fds of listeners)
      for (const fd of fds) {
        libc.close(fd)
        if (++closed % SLICE === 0) await setImmediate()
      }
  }

  return { open, close, copy, openAll, closeAll }
}

const portsOf = ({ ports }: ServiceSpec): number => ports.last - ports.first + 1

export const socketsOf = (spec: ServiceSpec): number => spec.addresses.length * portsOf(spec)

interface Where {
  readonly address: string
  readonly port: number
  readonly protocol: 'tcp' | 'udp'
}

const listenOn = (
  libc: Libc,
  options: SocketOptions,
  sockaddr: Pinned,
  length: number,
  where: Where,
  needed: number,
): number => {
  const stream = where.protocol === 'tcp'
  const family = familyOf(where.address)
  const type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC
  const fd = libc.socket(family, type, 0)
  if (fd < 0) {
    const errno = libc.errno()
    if (errno === EMFILE || errno === ENFILE)
      throw PortctlError.of('fd-limit', { needed, limit: openFilesLimit(libc) })
    throw failure('socket', errno, where)
  }
  const fail = (call: string): PortctlError => {
    const errno = libc.errno()
    libc.close(fd)
    return failure(call, errno, where)
  }
  if (family === AF_INET6) options.setInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)
  if (stream) {
    // For UDP it would let two sockets share the port; for TCP it only means that TIME_WAIT does not count.
    options.setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    // Accepted sockets inherit both.
    options.setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    options.setInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
  } else if (family === AF_INET6) options.setInt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
  else options.setInt(fd, IPPROTO_IP, IP_PKTINFO, 1)
  if (libc.bind(fd, sockaddr.address, length) < 0) throw fail('bind')
  // Two sockets with SO_REUSEADDR may be bound to one port; the second to listen is refused.
  if (stream && libc.listen(fd, BACKLOG) < 0) throw fail('listen')
  return fd
}

const failure = (call: string, errno: number, where: Where): PortctlError => {
  switch (errno) {
    case EADDRINUSE:
      return PortctlError.of('port-taken', where)
    case EACCES:
    case EPERM:
      return PortctlError.of('port-denied', where)
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
      return PortctlError.of('address-unavailable', where)
    default:
      return PortctlError.of('syscall-failed', {
        call,
        subject: `${where.address} port ${where.port}/${where.protocol}`,
        errno: errnoName(errno),
      })
  }
}
