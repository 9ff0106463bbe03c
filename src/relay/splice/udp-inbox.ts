/**
 * Where datagrams arrive: an array of struct mmsghdr (socket(2), recvmmsg(2)) laid out once by hand in pinned
 * memory, each with room for the largest datagram, the sender's address and control messages. A batch costs one
 * call and no allocation; after it, slot `i` holds datagram `i` until the slot is received into again.
 *
 * Layout on 64-bit little-endian Linux (struct user_msghdr is 56 bytes, mmsghdr 64), in 32-bit words:
 * 0 msg_name, 2 msg_namelen, 4 msg_iov, 6 msg_iovlen, 8 msg_control, 10 msg_controllen, 12 msg_flags, 14 msg_len.
 * msg_namelen and msg_controllen are overwritten by the kernel, so they are set again before each call.
 */
import {
  AF_INET,
  IP_PKTINFO,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_PKTINFO,
  type Libc,
  type Pinned,
  SOCKADDR_IN6_SIZE,
  UDP_GRO,
} from '../../kernel/libc/index.ts'
import { INTERFACE_WORD, LISTENER_WORD, LOCAL_WORD } from './udp-flows.ts'

export const HEADER_BYTES = 64
export const HEADER_WORDS = HEADER_BYTES / 4
export const IOVEC_BYTES = 16
export const IOVEC_WORDS = IOVEC_BYTES / 4
/** CMSG_SPACE(struct in6_pktinfo) + CMSG_SPACE(int). */
export const CONTROL_BYTES = 64
export const CONTROL_WORDS = CONTROL_BYTES / 4
export const NAME_LENGTH = 2
export const IOVEC_POINTER = 4
export const IOVEC_COUNT = 6
export const CONTROL_POINTER = 8
export const CONTROL_LENGTH = 10
const MESSAGE_LENGTH = 14
const NAME_BYTES = 32
const NAME_WORDS = NAME_BYTES / 4
/** sizeof(struct cmsghdr): u64 length, i32 level, i32 type. */
export const CMSG_HEADER = 16
/**
 * Every datagram and every GRO bundle fits (both are below 64 KiB). The odd cache lines beyond keep the first lines
 * of all slots, which small datagrams live in, out of one set of the first-level cache.
 */
const SLOT_BYTES = 65_536 + 3 * 64

/** Writes a pointer; addresses are below 2^48, so a number holds them exactly. */
export const writePointer = (words: Int32Array, at: number, address: number): void => {
  words[at] = address
  words[at + 1] = Math.floor(address / 2 ** 32)
}

export const readPointer = (words: Int32Array, at: number): number =>
  ((words[at + 1] as number) >>> 0) * 2 ** 32 + ((words[at] as number) >>> 0)

export class Inbox {
  readonly #libc: Libc
  /** The headers, and behind them the iovecs they point at. */
  readonly #headers: Pinned
  readonly #words: Int32Array
  readonly #names: Int32Array
  readonly #control: Int32Array
  readonly #payload: Pinned
  /** From this slot on, headers are as `#renew` left them. */
  #written = 0

  constructor(libc: Libc, capacity: number) {
    const headers = libc.pin(capacity * (HEADER_BYTES + IOVEC_BYTES))
    const iovecs = capacity * HEADER_BYTES
    const names = libc.pin(capacity * NAME_BYTES)
    const control = libc.pin(capacity * CONTROL_BYTES)
    this.#libc = libc
    this.#headers = headers
    this.#payload = libc.pin(capacity * SLOT_BYTES)
    this.#words = new Int32Array(headers.bytes.buffer)
    this.#names = new Int32Array(names.bytes.buffer)
    this.#control = new Int32Array(control.bytes.buffer)
    const iovecWords = new Int32Array(headers.bytes.buffer, iovecs)
    for (let slot = 0; slot < capacity; slot++) {
      const at = slot * HEADER_WORDS
      writePointer(this.#words, at, names.address + slot * NAME_BYTES)
      writePointer(this.#words, at + IOVEC_POINTER, headers.address + iovecs + slot * IOVEC_BYTES)
      this.#words[at + IOVEC_COUNT] = 1
      writePointer(this.#words, at + CONTROL_POINTER, control.address + slot * CONTROL_BYTES)
      writePointer(iovecWords, slot * IOVEC_WORDS, this.payload(slot))
      iovecWords[slot * IOVEC_WORDS + 2] = SLOT_BYTES
      this.#renew(slot)
    }
  }

  #renew(slot: number): void {
    this.#words[slot * HEADER_WORDS + NAME_LENGTH] = SOCKADDR_IN6_SIZE
    this.#words[slot * HEADER_WORDS + CONTROL_LENGTH] = CONTROL_BYTES
  }

  /** Fills slots from `first` on, at most `limit`; returns how many, or −1 with errno set. */
  receive(fd: number, first: number, limit: number): number {
    for (let slot = first; slot < Math.min(first + limit, this.#written); slot++) this.#renew(slot)
    const count = this.#libc.recvmmsg(fd, this.#headers.address + first * HEADER_BYTES, limit, 0, 0)
    const end = first + Math.max(count, 0)
    this.#written = first + limit < this.#written ? this.#written : end
    return count
  }

  payload(slot: number): number {
    return this.#payload.address + slot * SLOT_BYTES
  }

  length(slot: number): number {
    return this.#words[slot * HEADER_WORDS + MESSAGE_LENGTH] as number
  }

  /** Size of each datagram but the last when the slot holds a GRO bundle (udp(7), UDP_GRO); 0 for one datagram. */
  segmentSize(slot: number): number {
    const length = this.#words[slot * HEADER_WORDS + CONTROL_LENGTH] as number
    if (length === 0) return 0
    const at = this.#find(slot, length, IPPROTO_UDP, UDP_GRO)
    return at < 0 ? 0 : (this.#control[at] as number)
  }

  /** Writes the identity of the flow that the datagram in `slot` belongs to (udp-flows.ts). */
  readKey(slot: number, listener: number, key: Int32Array): void {
    const name = slot * NAME_WORDS
    const v4 = ((this.#names[name] as number) & 0xffff) === AF_INET
    for (let i = 0; i < LISTENER_WORD; i++) key[i] = v4 && i > 1 ? 0 : (this.#names[name + i] as number)
    for (let i = LOCAL_WORD; i < key.length; i++) key[i] = 0
    key[LISTENER_WORD] = listener
    const length = this.#words[slot * HEADER_WORDS + CONTROL_LENGTH] as number
    if (length === 0) return
    if (v4) {
      // struct in_pktinfo: interface, the address to answer from, the address in the header (ip(7)).
      const at = this.#find(slot, length, IPPROTO_IP, IP_PKTINFO)
      if (at >= 0) key[LOCAL_WORD] = this.#control[at + 1] as number
    } else {
      // struct in6_pktinfo: address, interface (ipv6(7)).
      const at = this.#find(slot, length, IPPROTO_IPV6, IPV6_PKTINFO)
      if (at < 0) return
      for (let i = 0; i < 4; i++) key[LOCAL_WORD + i] = this.#control[at + i] as number
      if (isLinkLocal(key[LOCAL_WORD] as number)) key[INTERFACE_WORD] = this.#control[at + 4] as number
    }
  }

  /** Index of the control message's data in words, or −1. */
  #find(slot: number, length: number, level: number, type: number): number {
    const first = slot * CONTROL_WORDS
    const end = first + (length >> 2)
    for (let at = first; at + 4 <= end; ) {
      if (this.#control[at + 2] === level && this.#control[at + 3] === type) return at + 4
      const bytes = this.#control[at] as number
      if (bytes < CMSG_HEADER) return -1
      at += ((bytes + 7) & ~7) >> 2
    }
    return -1
  }
}

/** fe80::/10, looking at the first word as it lies in memory. */
const isLinkLocal = (word: number): boolean => (word & 0xc0ff) === 0x80fe
