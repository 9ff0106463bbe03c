/**
 * Listening sockets of services, made on the engine's main thread: all of a batch or none. They are numbers in an
 * array, one array a service, on shared memory, so that 40,000 ports cost 40,000 numbers. Work is done in slices between
 * which the main thread answers others.
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
  RLIMIT_NOFILE,
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

/** Sockets made or closed before the main thread may do something else; some 5 ms. */
const SLICE = 1024
/** What listen(2) is asked for; the kernel caps it at net.core.somaxconn. */
const BACKLOG = 4096

export interface Listeners {
  /** Descriptors by service: address `a`, port `first + i` at `a × ports + i`. @throws as Engine.open */
  open(specs: readonly ServiceSpec[]): Promise<Int32Array[]>
  close(listeners: readonly Int32Array[]): Promise<void>
}

export const createListeners = (libc: Libc): Listeners => {
  const options = socketOptions(libc)
  const sockaddr = libc.pin(SOCKADDR_SIZE)

  const close = async (listeners: readonly Int32Array[]): Promise<void> => {
    let done = 0
    for (const fds of listeners) {
      for (const fd of fds) {
        libc.close(fd)
        if (++done % SLICE === 0) await setImmediate()
      }
    }
  }

  const open = async (specs: readonly ServiceSpec[]): Promise<Int32Array[]> => {
    const total = specs.reduce((sum, spec) => sum + socketsOf(spec), 0)
    const opened: Int32Array[] = []
    let done = 0
    for (const spec of specs) {
      const fds = new Int32Array(new SharedArrayBuffer(4 * socketsOf(spec)))
      let made = 0
      try {
        for (const address of spec.addresses) {
          const length = writeSockaddr(libc, sockaddr, 0, { address, port: 0 })
          for (let port = spec.ports.first; port <= spec.ports.last; port++) {
            if (++done % SLICE === 0) {
              await setImmediate()
              writeSockaddr(libc, sockaddr, 0, { address, port: 0 })
            }
            sockaddr.view.setUint16(2, port)
            fds[made] = listenOn(
              libc,
              options,
              sockaddr,
              length,
              { address, port, protocol: spec.protocol },
              () => ({
                needed: total - done + 1,
                limit: openFilesLimit(libc),
              }),
            )
            made++
          }
        }
      } catch (error) {
        await close([...opened, fds.subarray(0, made)])
        throw error
      }
      opened.push(fds)
    }
    return opened
  }

  return { open, close }
}

const socketsOf = ({ addresses, ports }: ServiceSpec): number =>
  addresses.length * (ports.last - ports.first + 1)

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
  shortage: () => { needed: number; limit: number },
): number => {
  const stream = where.protocol === 'tcp'
  const family = familyOf(where.address)
  const type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC
  const fd = libc.socket(family, type, 0)
  if (fd < 0) throw failure('socket', libc.errno(), where, shortage)
  const fail = (call: string): PortctlError => {
    const errno = libc.errno()
    libc.close(fd)
    return failure(call, errno, where, shortage)
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

const failure = (
  call: string,
  errno: number,
  where: Where,
  shortage: () => { needed: number; limit: number },
): PortctlError => {
  switch (errno) {
    case EADDRINUSE:
      return PortctlError.of('port-taken', where)
    case EACCES:
    case EPERM:
      return PortctlError.of('port-denied', where)
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
      return PortctlError.of('address-unavailable', where)
    case EMFILE:
    case ENFILE:
      return PortctlError.of('fd-limit', shortage())
    default:
      return PortctlError.of('syscall-failed', {
        call,
        subject: `${where.address} port ${where.port}/${where.protocol}`,
        errno: errnoName(errno),
      })
  }
}

const openFilesLimit = (libc: Libc): number => {
  const limits = libc.pin(16)
  libc.prlimit(0, RLIMIT_NOFILE, 0, limits.address)
  return Number(limits.view.getBigUint64(0, true))
}

/** Lets the process open as many files as the kernel allows it to: soft limit to hard, and beyond where permitted. */
export const raiseOpenFilesLimit = (libc: Libc, ceiling: number): void => {
  const limits = libc.pin(16)
  libc.prlimit(0, RLIMIT_NOFILE, 0, limits.address)
  const hard = limits.view.getBigUint64(8, true)
  const wanted = BigInt(ceiling)
  for (const limit of wanted > hard ? [wanted, hard] : [hard]) {
    limits.view.setBigUint64(0, limit, true)
    limits.view.setBigUint64(8, limit, true)
    if (libc.prlimit(0, RLIMIT_NOFILE, limits.address, 0) === 0) return
  }
}
