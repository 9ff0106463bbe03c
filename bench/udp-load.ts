/**
 * UDP load: senders and receivers as programs of their own, on libc's recvmmsg and sendmmsg so that they are not what
 * is measured. Every figure is counted where datagrams *arrive*.
 *
 *   udp-load sink  ADDRESS PORT [--gro]              counts; a line of JSON for each burst (quiet for 300 ms ends it)
 *   udp-load flood ADDRESS PORT --seconds N [--size BYTES] [--flows N] [--rate PER_SECOND] [--gso SEGMENTS]
 *   udp-load echo  ADDRESS PORT                      sends each datagram back
 *   udp-load rtt   ADDRESS PORT --count N [--size BYTES]     one datagram in flight; a line of JSON
 *
 * sink and echo print `ready` once bound, and run until killed.
 */
import { parseArgs } from 'node:util'
import {
  errnoName,
  familyOf,
  IPPROTO_UDP,
  type Libc,
  loadLibc,
  type Pinned,
  SO_RCVBUFFORCE,
  SOCK_DGRAM,
  SOCKADDR_SIZE,
  SOL_SOCKET,
  socketOptions,
  UDP_GRO,
  UDP_SEGMENT,
  writeSockaddr,
} from '../src/kernel/libc/index.ts'
import { percentiles } from './agent/histogram.ts'

const SO_RCVTIMEO = 20
const MSG_WAITFORONE = 0x10000
const BATCH = 64
const MAX_DATAGRAM = 65_536
/** A burst is over when nothing arrives for so long, milliseconds. */
const QUIET = 300

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '2' },
    flows: { type: 'string', default: '1' },
    rate: { type: 'string', default: '0' },
    count: { type: 'string', default: '10000' },
    gso: { type: 'string', default: '1' },
    gro: { type: 'boolean', default: false },
  },
})
const [mode = '', address = '127.0.0.1', portText = '0'] = positionals
const at = { address, port: Number(portText) }
const [size, seconds, flows, rate, count, gso] = [
  values.size,
  values.seconds,
  values.flows,
  values.rate,
  values.count,
  values.gso,
].map(Number) as [number, number, number, number, number, number]

const print = (line: unknown): void => console.log(typeof line === 'string' ? line : JSON.stringify(line))

/** `n` struct mmsghdr with one iovec each (layout: src/relay/splice/udp-inbox.ts), all sharing one payload and one name. */
interface Messages {
  readonly address: number
  readonly words: Int32Array
  readonly payload: Pinned
}
const HEADER = 64

const messages = (libc: Libc, n: number, bytes: number): Messages => {
  const headers = libc.pin(n * (HEADER + 16))
  const payload = libc.pin(bytes)
  const name = libc.pin(SOCKADDR_SIZE)
  kept.push(headers, payload, name)
  for (let i = 0; i < n; i++) {
    const iovec = n * HEADER + i * 16
    const pointer = (offset: number, to: number) => headers.view.setBigUint64(offset, BigInt(to), true)
    pointer(i * HEADER, name.address)
    pointer(i * HEADER + 16, headers.address + iovec)
    headers.view.setUint32(i * HEADER + 24, 1, true)
    pointer(iovec, payload.address)
    headers.view.setUint32(iovec + 8, bytes, true)
  }
  return { address: headers.address, words: new Int32Array(headers.bytes.buffer), payload }
}
const kept: Pinned[] = []

const socket = (libc: Libc, join: 'bind' | 'connect'): number => {
  const fd = libc.socket(familyOf(at.address), SOCK_DGRAM, 0)
  const name = libc.pin(SOCKADDR_SIZE)
  const length = writeSockaddr(libc, name, 0, at)
  if (libc[join](fd, name.address, length) < 0) throw new Error(`${join}: ${errnoName(libc.errno())}`)
  socketOptions(libc).setInt(fd, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
  return fd
}

const receiveTimeout = (libc: Libc, fd: number, milliseconds: number): void => {
  const timeval = libc.pin(16)
  timeval.view.setBigInt64(0, BigInt(Math.floor(milliseconds / 1000)), true)
  timeval.view.setBigInt64(8, BigInt((milliseconds % 1000) * 1000), true)
  libc.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeval.address, 16)
}

const sink = (libc: Libc): void => {
  const fd = socket(libc, 'bind')
  if (values.gro) socketOptions(libc).setInt(fd, IPPROTO_UDP, UDP_GRO, 1)
  receiveTimeout(libc, fd, QUIET)
  const inbox = messages(libc, BATCH, MAX_DATAGRAM)
  print('ready')
  for (;;) {
    let [datagrams, bytes, first, last] = [0, 0, 0, 0]
    for (;;) {
      const n = libc.recvmmsg(fd, inbox.address, BATCH, MSG_WAITFORONE, 0)
      if (n < 0 && datagrams > 0) break
      if (n < 0) continue
      last = performance.now()
      if (datagrams === 0) first = last
      datagrams += n
      for (let i = 0; i < n; i++) bytes += inbox.words[i * 16 + 14] as number
    }
    print({ datagrams, bytes, milliseconds: last - first })
  }
}

const flood = (libc: Libc): void => {
  const sockets = Array.from({ length: flows }, () => socket(libc, 'connect'))
  if (gso > 1) for (const fd of sockets) socketOptions(libc).setInt(fd, IPPROTO_UDP, UDP_SEGMENT, size)
  const outbox = messages(libc, BATCH, size * gso)
  for (let i = 0; i < BATCH; i++) outbox.words.fill(0, i * 16, i * 16 + 3)
  // A flow's turn: with many flows one datagram, as a crowd of clients sends; with one a whole batch.
  const turn = flows > 1 ? 1 : BATCH
  const begun = performance.now()
  const end = begun + seconds * 1000
  let sent = 0
  for (let i = 0, now = begun; now < end; i++) {
    const n = libc.sendmmsg(sockets[i % flows] as number, outbox.address, turn, 0)
    // ECONNREFUSED: nobody listened for an earlier one.
    if (n > 0) sent += n * gso
    if (i % 16 === 0 || turn > 1) now = performance.now()
    while (rate > 0 && (sent / rate) * 1000 > now - begun && now < end) now = performance.now()
  }
  print({ sent, milliseconds: performance.now() - begun })
}

const echo = (libc: Libc): void => {
  const fd = socket(libc, 'bind')
  const one = messages(libc, 1, MAX_DATAGRAM)
  print('ready')
  for (;;) {
    one.words[2] = SOCKADDR_SIZE
    one.words[16 + 2] = MAX_DATAGRAM
    const n = libc.recvmsg(fd, one.address, 0)
    if (n < 0) continue
    one.words[16 + 2] = n
    libc.sendmsg(fd, one.address, 0)
  }
}

const rtt = (libc: Libc): void => {
  const fd = socket(libc, 'connect')
  receiveTimeout(libc, fd, 1000)
  const data = libc.pin(MAX_DATAGRAM)
  const samples: number[] = []
  for (let i = 0; i < count; i++) {
    const from = performance.now()
    libc.send(fd, data.address, size, 0)
    if (libc.recv(fd, data.address, MAX_DATAGRAM, 0) >= 0) samples.push(performance.now() - from)
  }
  print({ ...percentiles(Float64Array.from(samples)), lost: count - samples.length })
}

const MODES: Readonly<Record<string, (libc: Libc) => void>> = { sink, flood, echo, rtt }

const main = async (): Promise<void> => {
  const run = MODES[mode]
  if (run === undefined) throw new Error(`udp-load: no such mode: ${mode}`)
  run(await loadLibc())
}

void main()
