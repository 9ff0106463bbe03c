/** The sockets of UDP: options of listeners, and connected sockets for flows. */
import {
  familyOf,
  IPPROTO_UDP,
  type Libc,
  SO_ERROR,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCKADDR_SIZE,
  SOL_SOCKET,
  socketOptions,
  UDP_GRO,
  writeSockaddr,
} from '../../kernel/libc/index.ts'
import { type Place, socketMaker } from './netns-socket.ts'

/** Bytes; a bound, not a reservation. Bursts wait here while the thread is busy elsewhere. */
const LISTENER_BUFFER = 4 << 20
const FLOW_BUFFER = 1 << 20

export interface UdpSockets {
  /** Sets up a bound descriptor. */
  listener(fd: number): void
  /** A socket connected to `address`:`port` from inside `place`; −1 with errno set. */
  flow(place: Place, address: string, port: number): number
  /** The error pending on a socket, taken off it; 0 for none. */
  takeError(fd: number): number
}

export const udpSockets = (libc: Libc): UdpSockets => {
  const options = socketOptions(libc)
  const makeSocket = socketMaker(libc)
  const sockaddr = libc.pin(SOCKADDR_SIZE)

  /** Beyond net.core.rmem_max, which takes CAP_NET_ADMIN; refused once, it is not asked for each flow. */
  let force = true

  const prepare = (fd: number, buffer: number): void => {
    force &&= options.setInt(fd, SOL_SOCKET, SO_RCVBUFFORCE, buffer) === 0
    if (!force) options.setInt(fd, SOL_SOCKET, SO_RCVBUF, buffer)
    options.setInt(fd, IPPROTO_UDP, UDP_GRO, 1)
  }

  return {
    listener: fd => prepare(fd, LISTENER_BUFFER),

    flow(place, address, port) {
      const fd = makeSocket(place, familyOf(address), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
      if (fd < 0) return -1
      const length = writeSockaddr(libc, sockaddr, 0, { address, port })
      if (libc.connect(fd, sockaddr.address, length) < 0) {
        libc.close(fd)
        return -1
      }
      prepare(fd, FLOW_BUFFER)
      return fd
    },

    takeError: fd => options.getInt(fd, SOL_SOCKET, SO_ERROR),
  }
}
