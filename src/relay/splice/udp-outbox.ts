/**
 * Datagrams on their way out: an array of struct mmsghdr (layout in udp-inbox.ts) that points at payloads lying in
 * the inbox. All of them leave through one socket, in one sendmmsg(2).
 *
 * UDP promises nothing, so a datagram that the kernel refuses is dropped and the rest go on, with two exceptions.
 * ECONNREFUSED reports the fate of an *earlier* datagram and this one was not sent: it is sent again, once.
 * A bundle (udp(7), UDP_SEGMENT) may be too much for the way out, because the route's MTU is below the segment size
 * or the device does not checksum: then its datagrams leave one by one.
 */
import {
  AF_INET,
  ECONNREFUSED,
  IP_PKTINFO,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_PKTINFO,
  type Libc,
  type Pinned,
  SOCKADDR_IN_SIZE,
  SOCKADDR_IN6_SIZE,
  UDP_SEGMENT,
} from '../../kernel/libc/index.ts'
import { type FlowTable, INTERFACE_WORD, LOCAL_WORD, RECORD_WORDS } from './udp-flows.ts'
import {
  CMSG_HEADER,
  CONTROL_BYTES,
  CONTROL_LENGTH,
  CONTROL_POINTER,
  CONTROL_WORDS,
  HEADER_BYTES,
  HEADER_WORDS,
  IOVEC_BYTES,
  IOVEC_WORDS,
  NAME_LENGTH,
  writePointer,
} from './udp-inbox.ts'

/** struct in_pktinfo and in6_pktinfo (ip(7), ipv6(7)). */
const PKTINFO4_BYTES = 12
const PKTINFO6_BYTES = 20

/** CMSG_SPACE. */
const space = (bytes: number): number => CMSG_HEADER + ((bytes + 7) & ~7)

export class Outbox {
  readonly #libc: Libc
  readonly #headers: Pinned
  readonly #words: Int32Array
  readonly #iovecs: Pinned
  readonly #iovecWords: Int32Array
  readonly #controlWords: Int32Array
  /** Per message: size of a bundle's datagrams, 0 for a single one. */
  readonly #segments: Int32Array
  /** Kept so that the memory behind the pointers stays. */
  readonly #control: Pinned
  #count = 0

  constructor(libc: Libc, capacity: number) {
    this.#libc = libc
    this.#headers = libc.pin(capacity * HEADER_BYTES)
    this.#iovecs = libc.pin(capacity * IOVEC_BYTES)
    this.#control = libc.pin(capacity * CONTROL_BYTES)
    this.#words = new Int32Array(this.#headers.bytes.buffer)
    this.#iovecWords = new Int32Array(this.#iovecs.bytes.buffer)
    this.#controlWords = new Int32Array(this.#control.bytes.buffer)
    this.#segments = new Int32Array(capacity)
    for (let i = 0; i < capacity; i++) {
      const at = i * HEADER_WORDS
      writePointer(this.#words, at + 4, this.#iovecs.address + i * IOVEC_BYTES)
      this.#words[at + 6] = 1
      writePointer(this.#words, at + CONTROL_POINTER, this.#control.address + i * CONTROL_BYTES)
    }
  }

  /** Messages waiting for `send`. */
  get count(): number {
    return this.#count
  }

  /** For a connected socket. `segment`: size of a bundle's datagrams, 0 for a single one. */
  push(payload: number, length: number, segment: number): void {
    this.#push(payload, length)
    this.#finish(0, segment)
  }

  /** For the listener: to the flow's client, from the address that the client asked. */
  pushAnswer(payload: number, length: number, segment: number, flows: FlowTable, flow: number): void {
    const record = flow * RECORD_WORDS
    const v4 = ((flows.words[record] as number) & 0xffff) === AF_INET
    const at = this.#push(payload, length)
    writePointer(this.#words, at, flows.recordAddress(flow))
    this.#words[at + NAME_LENGTH] = v4 ? SOCKADDR_IN_SIZE : SOCKADDR_IN6_SIZE
    this.#finish(this.#writeSource(flows.words, record, v4), segment)
  }

  /** Sends all that is waiting, which stays until `clear`; returns the payload bytes that left. */
  send(fd: number): number {
    const count = this.#count
    let bytes = 0
    let refused = -1
    for (let first = 0; first < count; ) {
      const sent = this.#libc.sendmmsg(fd, this.#headers.address + first * HEADER_BYTES, count - first, 0)
      if (sent > 0) {
        for (let i = first; i < first + sent; i++) bytes += this.#length(i)
        first += sent
      } else if (this.#libc.errno() === ECONNREFUSED && refused !== first) refused = first
      else {
        if (this.#segments[first] !== 0) bytes += this.#sendApart(fd, first)
        first++
      }
    }
    return bytes
  }

  clear(): void {
    this.#count = 0
  }

  #length(i: number): number {
    return this.#iovecWords[i * IOVEC_WORDS + 2] as number
  }

  /** Index of the header in words. */
  #push(payload: number, length: number): number {
    const i = this.#count
    writePointer(this.#iovecWords, i * IOVEC_WORDS, payload)
    this.#iovecWords[i * IOVEC_WORDS + 2] = length
    const at = i * HEADER_WORDS
    writePointer(this.#words, at, 0)
    this.#words[at + NAME_LENGTH] = 0
    return at
  }

  #finish(controlLength: number, segment: number): void {
    const i = this.#count++
    this.#segments[i] = segment
    this.#words[i * HEADER_WORDS + CONTROL_LENGTH] =
      segment === 0 ? controlLength : controlLength + this.#writeSegment(controlLength, i, segment)
  }

  #writeHeader(at: number, bytes: number, level: number, type: number): void {
    this.#controlWords[at] = CMSG_HEADER + bytes
    this.#controlWords[at + 1] = 0
    this.#controlWords[at + 2] = level
    this.#controlWords[at + 3] = type
  }

  /** A 16-bit segment size; returns the space it takes. */
  #writeSegment(offset: number, i: number, segment: number): number {
    const at = i * CONTROL_WORDS + (offset >> 2)
    this.#writeHeader(at, 2, IPPROTO_UDP, UDP_SEGMENT)
    this.#controlWords[at + 4] = segment
    return space(2)
  }

  /** The source address of an answer; returns the space it takes, 0 when the socket is bound to one address. */
  #writeSource(words: Int32Array, record: number, v4: boolean): number {
    const local = record + LOCAL_WORD
    const at = this.#count * CONTROL_WORDS
    if (v4) {
      if (words[local] === 0) return 0
      this.#writeHeader(at, PKTINFO4_BYTES, IPPROTO_IP, IP_PKTINFO)
      this.#controlWords[at + 4] = 0
      this.#controlWords[at + 5] = words[local] as number
      this.#controlWords[at + 6] = 0
      return space(PKTINFO4_BYTES)
    }
    if (words[local] === 0 && words[local + 3] === 0) return 0
    this.#writeHeader(at, PKTINFO6_BYTES, IPPROTO_IPV6, IPV6_PKTINFO)
    for (let i = 0; i < 4; i++) this.#controlWords[at + 4 + i] = words[local + i] as number
    this.#controlWords[at + 8] = words[record + INTERFACE_WORD] as number
    return space(PKTINFO6_BYTES)
  }

  /** Sends a bundle's datagrams one by one, up to the first that is refused; returns the bytes that left. */
  #sendApart(fd: number, i: number): number {
    const segment = this.#segments[i] as number
    const iovec = i * IOVEC_WORDS
    const header = i * HEADER_WORDS
    const end = this.#length(i)
    let payload =
      ((this.#iovecWords[iovec + 1] as number) >>> 0) * 2 ** 32 + ((this.#iovecWords[iovec] as number) >>> 0)
    this.#words[header + CONTROL_LENGTH] = (this.#words[header + CONTROL_LENGTH] as number) - space(2)
    let done = 0
    while (done < end) {
      const length = Math.min(segment, end - done)
      writePointer(this.#iovecWords, iovec, payload)
      this.#iovecWords[iovec + 2] = length
      if (this.#libc.sendmsg(fd, this.#headers.address + i * HEADER_BYTES, 0) < 0) break
      payload += length
      done += length
    }
    return done
  }
}
