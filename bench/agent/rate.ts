/**
 * Requests at a fixed rate, at a small price: one thread over epoll, so that at half of a proxy's peak the client does
 * not compete with it for the cores as a Node HTTP client would.
 *
 * Every millisecond, as many requests as the rate asks for become due and go out on idle connections; those that find
 * none wait. Latency counts from when a request was due, so a stalled path pays for all that it held up ("coordinated
 * omission" does not hide it).
 */
import {
  AF_INET,
  EPOLL_CTL_ADD,
  EPOLL_DATA_OFFSET,
  EPOLL_EVENT_SIZE,
  EPOLLIN,
  IPPROTO_TCP,
  type Libc,
  loadLibc,
  SOCK_STREAM,
  SOCKADDR_SIZE,
  socketOptions,
  TCP_NODELAY,
  writeSockaddr,
} from '../../src/kernel/libc/index.ts'
import { percentiles } from './histogram.ts'
import { type Address, type Agent, monotonic } from './protocol.ts'

const CONNECTIONS = 64
const REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: container\r\n\r\n')
const BUFFER = 4096

export const rate: Agent['rate'] = async ({ perSecond, seconds, ...to }) => {
  const libc = await loadLibc()
  const sockets = connectAll(libc, to)
  const epoll = libc.epoll_create1(0)
  watch(libc, epoll, sockets)

  const request = libc.pin(REQUEST.length)
  request.bytes.set(REQUEST)
  const answer = libc.pin(BUFFER)
  const events = libc.pin(CONNECTIONS * EPOLL_EVENT_SIZE)
  const idle = sockets.map((_, i) => i)
  const dueOf = new Float64Array(CONNECTIONS)
  const waiting: number[] = []
  const total = Math.floor(perSecond * seconds)
  const samples = new Float64Array(total)

  const begun = monotonic()
  let issued = 0
  let answered = 0
  const deadline = begun + seconds * 1000 + 5000
  while (answered < total) {
    const now = monotonic()
    if (now > deadline) throw new Error(`${answered} of ${total} requests answered`)
    const due = Math.min(total, Math.floor(((now - begun) / 1000) * perSecond))
    for (; issued < due; issued++) waiting.push(now)
    let sent = 0
    for (; sent < waiting.length && idle.length > 0; sent++) {
      const i = idle.pop() ?? 0
      dueOf[i] = waiting[sent] ?? now
      libc.send(sockets[i] ?? -1, request.address, REQUEST.length, 0)
    }
    waiting.splice(0, sent)

    const ready = libc.epoll_wait(epoll, events.address, CONNECTIONS, 1)
    const at = monotonic()
    for (let e = 0; e < ready; e++) {
      const i = events.view.getUint32(e * EPOLL_EVENT_SIZE + EPOLL_DATA_OFFSET, true)
      // An answer is far smaller than a segment: one recv is one answer.
      if (libc.recv(sockets[i] ?? -1, answer.address, BUFFER, 0) <= 0) throw new Error('connection lost')
      samples[answered++] = at - (dueOf[i] ?? at)
      idle.push(i)
    }
  }
  for (const fd of [...sockets, epoll]) libc.close(fd)
  return percentiles(samples)
}

const connectAll = (libc: Libc, { host, port }: Address): readonly number[] => {
  const address = libc.pin(SOCKADDR_SIZE)
  const length = writeSockaddr(libc, address, 0, { address: host, port })
  const options = socketOptions(libc)
  return Array.from({ length: CONNECTIONS }, () => {
    const fd = libc.socket(AF_INET, SOCK_STREAM, 0)
    if (libc.connect(fd, address.address, length) < 0) throw new Error(`connect: errno ${libc.errno()}`)
    options.setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    return fd
  })
}

const watch = (libc: Libc, epoll: number, sockets: readonly number[]): void => {
  const event = libc.pin(EPOLL_EVENT_SIZE)
  sockets.forEach((fd, i) => {
    event.view.setUint32(0, EPOLLIN, true)
    event.view.setUint32(EPOLL_DATA_OFFSET, i, true)
    libc.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event.address)
  })
}
