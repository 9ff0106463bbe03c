/**
 * Datagrams on their way out: an array of struct mmsghdr (layout in udp-inbox.ts) whose iovecs point at payloads lying
 * in the inbox. All of them leave through one socket, in one sendmmsg(2).
 *
 * Bundles. Datagrams in a row to one destination and of one size (the last may be shorter) become a single message
 * with UDP_SEGMENT (udp(7)): the kernel carries them as one packet through routing, firewall, bridge and veth, and takes
 * them apart at the device or the receiving socket. It is most of what a datagram costs. What arrived as a bundle
 * (UDP_GRO) leaves as one. Nothing waits for company: only what lies here already is bundled.
 *
 * UDP promises nothing, so a message that the kernel refuses is dropped and the rest go on, with two exceptions.
 * ECONNREFUSED reports the fate of an *earlier* datagram and this one was not sent: it is sent again, once.
 * A bundle may be too much for the way out, because the route's MTU is below the segment size or the device does not
 * checksum: then its datagrams leave one by one.
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
import { type FlowTable, INTERFACE_WORD, LOCAL_WORD, NONE, RECORD_WORDS } from './udp-flows.ts'
import {
  CMSG_HEADER,
  CONTROL_BYTES,
  CONTROL_LENGTH,
  CONTROL_POINTER,
  CONTROL_WORDS,
  HEADER_BYTES,
  HEADER_WORDS,
  IOVEC_BYTES,
  IOVEC_COUNT,
  IOVEC_POINTER,
  IOVEC_WORDS,
  NAME_LENGTH,
  readPointer,
  writePointer,
} from './udp-inbox.ts'

/** struct in_pktinfo and in6_pktinfo (ip(7), ipv6(7)). */
const PKTINFO4_BYTES = 12
const PKTINFO6_BYTES = 20
/** UDP_MAX_SEGMENTS of every kernel that has UDP_SEGMENT (include/linux/udp.h; 128 since 6.9). */
const MAX_SEGMENTS = 64
/** Payload of a bundle; one IPv4 packet. */
const MAX_BUNDLE = 65_507
/** Largest datagram worth bundling: it fits a 1500-byte frame. Larger ones meet a smaller MTU too often. */
const MAX_SEGMENT = 1452

/** CMSG_SPACE. */
const space = (bytes: number): number => CMSG_HEADER + ((bytes + 7) & ~7)

export class Outbox {
  readonly #libc: Libc
  /** The headers, then the iovecs, of which the last is spare. */
  readonly #headers: Pinned
  readonly #words: Int32Array
  readonly #iovecs: Int32Array
  readonly #iovecsAt: number
  readonly #control: Int32Array
  /** Per message: payload bytes, datagrams, size of each but the last, first iovec. */
  readonly #bytes: Int32Array
  readonly #datagrams: Int32Array
  readonly #segment: Int32Array
  readonly #first: Int32Array
  /** Per message: control bytes that name the source. */
  readonly #source: Int32Array
  readonly #capacity: number
  #messages = 0
  #pieces = 0
  /** The flow that the last message belongs to while that may still grow, else NONE. */
  #growing = NONE

  constructor(libc: Libc, capacity: number) {
    const control = libc.pin(capacity * CONTROL_BYTES)
    this.#libc = libc
    this.#capacity = capacity
    this.#headers = libc.pin(capacity * HEADER_BYTES + (capacity + 1) * IOVEC_BYTES)
    this.#iovecsAt = this.#headers.address + capacity * HEADER_BYTES
    this.#words = new Int32Array(this.#headers.bytes.buffer)
    this.#iovecs = new Int32Array(this.#headers.bytes.buffer, capacity * HEADER_BYTES)
    this.#control = new Int32Array(control.bytes.buffer)
    this.#bytes = new Int32Array(capacity)
    this.#datagrams = new Int32Array(capacity)
    this.#segment = new Int32Array(capacity)
    this.#first = new Int32Array(capacity)
    this.#source = new Int32Array(capacity)
    for (let i = 0; i < capacity; i++)
      writePointer(this.#words, i * HEADER_WORDS + CONTROL_POINTER, control.address + i * CONTROL_BYTES)
  }

  /** Pieces waiting: as many inbox slots are in use. */
  get pieces(): number {
    return this.#pieces
  }

  /**
   * Adds what one slot of the inbox holds, on behalf of `flow`. `segment`: size of a bundle's datagrams, 0 for a single one.
   * `flows`: for an answer, which names its client and its source; null on a connected socket.
   */
  push(flow: number, payload: number, length: number, segment: number, flows: FlowTable | null): void {
    const size = segment === 0 ? length : segment
    const datagrams = segment === 0 ? 1 : Math.ceil(length / segment)
    if (!this.#join(flow, length, size, datagrams)) this.#begin(flow, length, size, datagrams, flows)
    const at = this.#pieces++ * IOVEC_WORDS
    writePointer(this.#iovecs, at, payload)
    this.#iovecs[at + 2] = length
  }

  /** Sends all that is waiting, which stays until `clear`; returns the payload bytes that left. */
  send(fd: number): number {
    const count = this.#messages
    let bytes = 0
    let refused = NONE
    for (let i = 0; i < count; i++) this.#finish(i)
    for (let first = 0; first < count; ) {
      const sent = this.#libc.sendmmsg(fd, this.#headers.address + first * HEADER_BYTES, count - first, 0)
      if (sent > 0) {
        for (let i = first; i < first + sent; i++) bytes += this.#bytes[i] as number
        first += sent
      } else if (this.#libc.errno() === ECONNREFUSED && refused !== first) refused = first
      else {
        if ((this.#datagrams[first] as number) > 1) bytes += this.#sendApart(fd, first)
        first++
      }
    }
    return bytes
  }

  clear(): void {
    this.#messages = 0
    this.#pieces = 0
    this.#growing = NONE
  }

  /** Makes the piece part of the last message, if they may be one bundle. */
  #join(flow: number, length: number, size: number, datagrams: number): boolean {
    if (flow !== this.#growing || length === 0) return false
    const i = this.#messages - 1
    const segment = this.#segment[i] as number
    const bytes = (this.#bytes[i] as number) + length
    const count = (this.#datagrams[i] as number) + datagrams
    if (bytes > MAX_BUNDLE || count > MAX_SEGMENTS) return false
    if (size !== segment && (size > segment || datagrams > 1)) return false
    this.#bytes[i] = bytes
    this.#datagrams[i] = count
    if (length % segment !== 0) this.#growing = NONE
    return true
  }

  #begin(flow: number, length: number, size: number, datagrams: number, flows: FlowTable | null): void {
    const i = this.#messages++
    const at = i * HEADER_WORDS
    this.#bytes[i] = length
    this.#datagrams[i] = datagrams
    this.#segment[i] = size
    this.#first[i] = this.#pieces
    const mayGrow = size > 0 && size <= MAX_SEGMENT && length % size === 0
    this.#growing = mayGrow ? flow : NONE
    if (flows === null) {
      writePointer(this.#words, at, 0)
      this.#words[at + NAME_LENGTH] = 0
      this.#source[i] = 0
      return
    }
    const record = flow * RECORD_WORDS
    const v4 = ((flows.words[record] as number) & 0xffff) === AF_INET
    writePointer(this.#words, at, flows.recordAddress(flow))
    this.#words[at + NAME_LENGTH] = v4 ? SOCKADDR_IN_SIZE : SOCKADDR_IN6_SIZE
    this.#source[i] = this.#writeSource(i, flows.words, record, v4)
  }

  /** Points message `i` at its iovecs, which are known once the next message has begun. */
  #finish(i: number): void {
    const at = i * HEADER_WORDS
    const first = this.#first[i] as number
    const end = i + 1 < this.#messages ? (this.#first[i + 1] as number) : this.#pieces
    writePointer(this.#words, at + IOVEC_POINTER, this.#iovecsAt + first * IOVEC_BYTES)
    this.#words[at + IOVEC_COUNT] = end - first
    const offset = this.#source[i] as number
    this.#words[at + CONTROL_LENGTH] = offset
    if ((this.#datagrams[i] as number) < 2) return
    const control = i * CONTROL_WORDS + (offset >> 2)
    this.#writeControl(control, 2, IPPROTO_UDP, UDP_SEGMENT)
    this.#control[control + 4] = this.#segment[i] as number
    this.#words[at + CONTROL_LENGTH] = offset + space(2)
  }

  #writeControl(at: number, bytes: number, level: number, type: number): void {
    this.#control[at] = CMSG_HEADER + bytes
    this.#control[at + 1] = 0
    this.#control[at + 2] = level
    this.#control[at + 3] = type
  }

  /** The source of an answer: the address that the client asked, if known; returns the space it takes. */
  #writeSource(i: number, words: Int32Array, record: number, v4: boolean): number {
    const local = record + LOCAL_WORD
    const at = i * CONTROL_WORDS
    if (v4) {
      if (words[local] === 0) return 0
      this.#writeControl(at, PKTINFO4_BYTES, IPPROTO_IP, IP_PKTINFO)
      this.#control[at + 4] = 0
      this.#control[at + 5] = words[local] as number
      this.#control[at + 6] = 0
      return space(PKTINFO4_BYTES)
    }
    if (words[local] === 0 && words[local + 3] === 0) return 0
    this.#writeControl(at, PKTINFO6_BYTES, IPPROTO_IPV6, IPV6_PKTINFO)
    for (let word = 0; word < 4; word++) this.#control[at + 4 + word] = words[local + word] as number
    this.#control[at + 8] = words[record + INTERFACE_WORD] as number
    return space(PKTINFO6_BYTES)
  }

  /** Sends a bundle's datagrams one by one; returns the bytes that left. */
  #sendApart(fd: number, i: number): number {
    const at = i * HEADER_WORDS
    const segment = this.#segment[i] as number
    const first = this.#first[i] as number
    const end = first + (this.#words[at + IOVEC_COUNT] as number)
    const spare = this.#capacity * IOVEC_WORDS
    let bytes = 0
    writePointer(this.#words, at + IOVEC_POINTER, this.#iovecsAt + this.#capacity * IOVEC_BYTES)
    this.#words[at + IOVEC_COUNT] = 1
    this.#words[at + CONTROL_LENGTH] = this.#source[i] as number
    for (let piece = first; piece < end; piece++) {
      const payload = readPointer(this.#iovecs, piece * IOVEC_WORDS)
      const length = this.#iovecs[piece * IOVEC_WORDS + 2] as number
      for (let done = 0; done < length; done += segment) {
        const part = Math.min(segment, length - done)
        writePointer(this.#iovecs, spare, payload + done)
        this.#iovecs[spare + 2] = part
        if (this.#libc.sendmsg(fd, this.#headers.address + i * HEADER_BYTES, 0) >= 0) bytes += part
      }
    }
    return bytes
  }
}
