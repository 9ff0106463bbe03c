/**
 * The UDP flow table. A flow is one client as one listener sees it, with the connected socket that speaks to the
 * target on its behalf. No object per flow: a flow is an index into typed arrays (some 130 bytes each, socket not
 * counted), which double when full and never shrink.
 *
 * Identity: a record of 13 words (`Int32Array`), compared whole: the client's sockaddr as the kernel wrote it
 * (words 0–6; v4 leaves 4–6 zero), the listener's fd (7), the local address that the client asked (8–11, zero
 * for a listener bound to one address) and the interface (12, link-local IPv6 only). Two local addresses asked
 * by one client are two flows: the answers differ in their source. The record lies in pinned memory, because
 * answers point msg_name straight at it.
 *
 * Found through a hash with chains threaded through `next` (the seed is random: clients choose addresses and
 * ports, and must not choose collisions). Ordered by last use in one doubly linked list a service
 * (`FlowList`), so that the oldest is found, and a flow moves to the front, in O(1). The timeout is one per
 * service, hence the list is also in order of expiry.
 *
 * Invariant: `add` may move the records; no message that points at one may be pending then (udp.ts flushes first).
 */
import { randomInt } from 'node:crypto'
import { AF_INET, type Libc, type Pinned } from '../../kernel/libc/index.ts'

export const RECORD_WORDS = 16
const RECORD_BYTES = RECORD_WORDS * 4
/** Words of a record that hold the flow's identity; the rest is padding. */
const KEY_WORDS = 13
export const LISTENER_WORD = 7
export const LOCAL_WORD = 8
export const INTERFACE_WORD = 12
export const NONE = -1

/** A service's flows, newest use first. */
export interface FlowList {
  newest: number
  oldest: number
  size: number
}

export const emptyFlowList = (): FlowList => ({ newest: NONE, oldest: NONE, size: 0 })

const FIRST_CAPACITY = 256

export class FlowTable {
  readonly #libc: Libc
  readonly #seed = randomInt(2 ** 32)
  #capacity = 0
  #records!: Pinned
  #words!: Int32Array
  /** Hash bucket → first flow; twice as many as flows. */
  #buckets!: Int32Array
  /** Flow → next in its bucket, or next free one. */
  #next!: Int32Array
  #newer!: Int32Array
  #older!: Int32Array
  #sockets!: Int32Array
  #lastUse!: Float64Array
  #free = NONE

  /** The identity looked for; the caller writes it, `find` and `add` read it. */
  readonly key = new Int32Array(KEY_WORDS)

  constructor(libc: Libc) {
    this.#libc = libc
    this.#resize(FIRST_CAPACITY)
  }

  /** The flow whose identity is `key`, or NONE. */
  find(): number {
    let flow = this.#buckets[this.#hash(this.key, 0)] as number
    while (flow !== NONE && !this.matches(flow)) flow = this.#next[flow] as number
    return flow
  }

  /** Whether `key` is the identity of this flow. */
  matches(flow: number): boolean {
    const at = flow * RECORD_WORDS
    for (let i = 0; i < KEY_WORDS; i++) if (this.#words[at + i] !== this.key[i]) return false
    return true
  }

  /** Makes the flow `key`, which is not there yet, the newest of `list`. */
  add(list: FlowList, socket: number, now: number): number {
    if (this.#free === NONE) this.#resize(this.#capacity * 2)
    const flow = this.#free
    this.#free = this.#next[flow] as number
    this.#words.set(this.key, flow * RECORD_WORDS)
    this.#sockets[flow] = socket
    this.#chain(flow)
    this.#pushNewest(list, flow)
    this.#lastUse[flow] = now
    list.size++
    return flow
  }

  /** The caller closes the socket. */
  remove(list: FlowList, flow: number): void {
    const bucket = this.#hash(this.#words, flow * RECORD_WORDS)
    const next = this.#next[flow] as number
    if (this.#buckets[bucket] === flow) this.#buckets[bucket] = next
    else {
      let before = this.#buckets[bucket] as number
      while (this.#next[before] !== flow) before = this.#next[before] as number
      this.#next[before] = next
    }
    this.#unlink(list, flow)
    list.size--
    this.#next[flow] = this.#free
    this.#free = flow
  }

  /** Makes the flow the newest of its list. */
  touch(list: FlowList, flow: number, now: number): void {
    this.#lastUse[flow] = now
    if (list.newest === flow) return
    this.#unlink(list, flow)
    this.#pushNewest(list, flow)
  }

  socket(flow: number): number {
    return this.#sockets[flow] as number
  }

  replaceSocket(flow: number, socket: number): void {
    this.#sockets[flow] = socket
  }

  lastUse(flow: number): number {
    return this.#lastUse[flow] as number
  }

  listener(flow: number): number {
    return this.#words[flow * RECORD_WORDS + LISTENER_WORD] as number
  }

  /** The records, RECORD_WORDS words a flow. Good until the next `add`. */
  get words(): Int32Array {
    return this.#words
  }

  /** Where the client's sockaddr lies. Good until the next `add`. */
  recordAddress(flow: number): number {
    return this.#records.address + flow * RECORD_BYTES
  }

  #hash(words: Int32Array, at: number): number {
    // Murmur3's mixing (32 bits), without its tail: the input is whole words.
    let hash = this.#seed | 0
    const v4 = ((words[at] as number) & 0xffff) === AF_INET
    for (let i = 0; i < KEY_WORDS; i++) {
      // v4 fills words 0, 1, 7 and 8 only.
      if (v4 && i === 2) i = LISTENER_WORD
      if (v4 && i > LOCAL_WORD) break
      let word = Math.imul(words[at + i] as number, 0xcc9e2d51)
      word = (word << 15) | (word >>> 17)
      hash ^= Math.imul(word, 0x1b873593)
      hash = (hash << 13) | (hash >>> 19)
      hash = (Math.imul(hash, 5) + 0xe6546b64) | 0
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    return (hash ^ (hash >>> 16)) & (this.#buckets.length - 1)
  }

  #chain(flow: number): void {
    const bucket = this.#hash(this.#words, flow * RECORD_WORDS)
    this.#next[flow] = this.#buckets[bucket] as number
    this.#buckets[bucket] = flow
  }

  #pushNewest(list: FlowList, flow: number): void {
    this.#newer[flow] = NONE
    this.#older[flow] = list.newest
    if (list.newest === NONE) list.oldest = flow
    else this.#newer[list.newest] = flow
    list.newest = flow
  }

  #unlink(list: FlowList, flow: number): void {
    const newer = this.#newer[flow] as number
    const older = this.#older[flow] as number
    if (newer === NONE) list.newest = older
    else this.#older[newer] = older
    if (older === NONE) list.oldest = newer
    else this.#newer[older] = newer
  }

  /** Only called when every flow is in use: all of them are chained anew, the added ones are free. */
  #resize(capacity: number): void {
    const used = this.#capacity
    const grown = (old: Int32Array | undefined) => {
      const array = new Int32Array(capacity)
      if (old !== undefined) array.set(old)
      return array
    }
    const records = this.#libc.pin(capacity * RECORD_BYTES)
    const words = new Int32Array(records.bytes.buffer)
    if (used > 0) words.set(this.#words)
    const lastUse = new Float64Array(capacity)
    if (used > 0) lastUse.set(this.#lastUse)
    this.#records = records
    this.#words = words
    this.#lastUse = lastUse
    this.#newer = grown(this.#newer)
    this.#older = grown(this.#older)
    this.#sockets = grown(this.#sockets)
    this.#next = new Int32Array(capacity)
    this.#buckets = new Int32Array(capacity * 2).fill(NONE)
    this.#capacity = capacity
    for (let flow = 0; flow < used; flow++) this.#chain(flow)
    for (let flow = capacity - 1; flow >= used; flow--) {
      this.#next[flow] = this.#free
      this.#free = flow
    }
  }
}
