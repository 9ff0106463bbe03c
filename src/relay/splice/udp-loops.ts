/**
 * Keeps datagrams from circling between our own sockets, which no hop limit in the packet would stop. Asked once
 * per new flow, never per datagram.
 *
 * Two ways to circle. A *forged* source that is one of our listeners: the answer would become a question to that
 * listener; such a datagram is dropped. A *target* that is one of our listeners: the client is then a flow's
 * socket of ours. That is legitimate (a publication that leads to another one), so such sockets are remembered with
 * the number of services passed, and the chain is cut beyond MAX_HOPS; a service that leads to itself, or two that
 * lead to each other, end there.
 *
 * A service belongs to one thread, its neighbours in a circle perhaps to others, so all that is asked here lies in
 * memory that the threads share; the thread that carries a service writes. Listeners are counted by port and by a
 * few bits of their address (*ways*): a source is one if its port and way are, and its address is this host's. So it is
 * refused wrongly only if it is a socket of this host on a published port, of an address with the same few bits.
 */
import {
  AF_INET,
  type Libc,
  type Pinned,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCKADDR_IN_SIZE,
  SOCKADDR_IN6_SIZE,
  SOCKADDR_SIZE,
  writeSockaddr,
} from '../../kernel/libc/index.ts'
import type { ServiceSpec } from '../engine.ts'
import { MAX_HOPS } from '../loops.ts'
import type { Locality } from './locality.ts'
import type { Loop } from './loop.ts'
import { LOCAL_WORD } from './udp-flows.ts'
import { grown } from './wheel.ts'

const PORTS = 65_536
/** Two for the wildcards of the families, the others for addresses by hash. */
const WAYS = 32
const V4_WILDCARD = 0
const V6_WILDCARD = 1
const FIRST_HASHED = 2

/** Words of a sockaddr where the address lies. */
const addressWords = (v4: boolean): readonly [number, number] => (v4 ? [1, 1] : [2, 4])

const isV4 = (sockaddr: Int32Array): boolean => ((sockaddr[0] as number) & 0xffff) === AF_INET

/** Port of a sockaddr whose first word is given: network order in the upper half. */
const portOf = (word: number): number => ((word >>> 24) & 0xff) | ((word >>> 8) & 0xff00)

/** Family and port, the part of a socket's own address that tells our sockets apart, as an index into `hops`. */
const socketKey = (word: number): number => portOf(word) + ((word & 0xffff) === AF_INET ? 0 : PORTS)

/** What the threads share: by port, how many listeners of ours have it; the same by port and way; by socket, services passed. Atomics only. */
const WAYS_AT = PORTS * Int32Array.BYTES_PER_ELEMENT
const HOPS_AT = WAYS_AT + PORTS * WAYS * Int32Array.BYTES_PER_ELEMENT
export const UDP_PASSAGES_BYTES = HOPS_AT + 2 * PORTS

export class LoopGuard {
  readonly #libc: Libc
  readonly #loop: Loop
  readonly #sockaddr: Pinned
  readonly #words: Int32Array
  readonly #listenersOn: Int32Array
  readonly #listenersAt: Int32Array
  /** What this thread has counted in. */
  readonly #services = new Map<number, ServiceSpec>()
  /** `socketKey` of a flow's socket → services that a datagram from it has passed. */
  readonly #hops: Uint8Array
  /** Descriptor → its key in `#hops`, 0 for none: no socket has port 0 of IPv4. */
  #key = new Int32Array(0)
  /** Flow's descriptor → services passed before it. */
  #passed = new Uint8Array(0)

  constructor(libc: Libc, loop: Loop, shared: SharedArrayBuffer) {
    this.#libc = libc
    this.#loop = loop
    this.#listenersOn = new Int32Array(shared, 0, PORTS)
    this.#listenersAt = new Int32Array(shared, WAYS_AT, PORTS * WAYS)
    this.#hops = new Uint8Array(shared, HOPS_AT)
    // A sockaddr, then its length for getsockname(2).
    this.#sockaddr = libc.pin(SOCKADDR_SIZE + 4)
    this.#words = new Int32Array(this.#sockaddr.bytes.buffer)
    loop.onGrow(capacity => {
      this.#key = grown(this.#key, capacity)
      this.#passed = grown(this.#passed, capacity)
    })
  }

  listening(slot: number, spec: ServiceSpec): void {
    this.#services.set(slot, spec)
    this.#countListeners(spec, 1)
  }

  silent(slot: number): void {
    const spec = this.#services.get(slot)
    if (spec !== undefined) this.#countListeners(spec, -1)
    this.#services.delete(slot)
  }

  /** Whether the datagram's source, which has no flow yet, is a listener of ours. `key` as in udp-flows.ts. */
  fromListener(key: Int32Array): boolean {
    const port = portOf(key[0] as number)
    if (Atomics.load(this.#listenersOn, port) === 0) return false
    const ways = port * WAYS
    const wildcard = ways + (isV4(key) ? V4_WILDCARD : V6_WILDCARD)
    if (Atomics.load(this.#listenersAt, wildcard) + Atomics.load(this.#listenersAt, ways + wayOf(key)) === 0)
      return false
    return wasAsked(key) || this.#isHere(key)
  }

  /** Services that a datagram with this source has passed already, or −1 when it must go no further. */
  hopsOf(key: Int32Array): number {
    const hops = Atomics.load(this.#hops, socketKey(key[0] as number))
    return hops < MAX_HOPS ? hops : -1
  }

  /** A flow got its socket: remembers it if the target, port `targetPort` of `target`, may be a listener of ours. */
  connected(fd: number, target: Locality | null, targetPort: number, hops: number): void {
    this.#passed[fd] = hops
    if (Atomics.load(this.#listenersOn, targetPort) === 0 || target?.isHere(this.#loop.now) !== true) return
    this.#words[SOCKADDR_SIZE / 4] = SOCKADDR_SIZE
    const { address } = this.#sockaddr
    if (this.#libc.getsockname(fd, address, address + SOCKADDR_SIZE) < 0) return
    const own = socketKey(this.#words[0] as number)
    this.#key[fd] = own
    Atomics.store(this.#hops, own, hops + 1)
  }

  /** A flow has another socket now, before anything is sent through it; the old one is about to be closed. */
  moved(old: number, fd: number, target: Locality | null, targetPort: number): void {
    this.connected(fd, target, targetPort, this.#passed[old] as number)
    this.closing(old)
  }

  /** A flow's socket is about to be closed. */
  closing(fd: number): void {
    const own = this.#key[fd] as number
    if (own === 0) return
    this.#key[fd] = 0
    Atomics.store(this.#hops, own, 0)
  }

  #countListeners({ addresses, ports }: ServiceSpec, by: 1 | -1): void {
    for (const address of addresses) {
      writeSockaddr(this.#libc, this.#sockaddr, 0, { address, port: 0 })
      const way = wayOf(this.#words)
      for (let port = ports.first; port <= ports.last; port++) {
        Atomics.add(this.#listenersAt, port * WAYS + way, by)
        Atomics.add(this.#listenersOn, port, by)
      }
    }
  }

  /**
   * Whether the source's address is this host's. The kernel is asked by connect(2), which sends nothing: to an address
   * of its own it speaks from that address. (bind(2) would say yes to all where ip_nonlocal_bind is set.) In doubt
   * the answer is yes.
   */
  #isHere(key: Int32Array): boolean {
    const v4 = isV4(key)
    if (v4 && ((key[1] as number) & 0xff) === 127) return true
    const libc = this.#libc
    const fd = libc.socket((key[0] as number) & 0xffff, SOCK_DGRAM | SOCK_CLOEXEC, 0)
    if (fd < 0) return true
    const { address } = this.#sockaddr
    const size = SOCKADDR_SIZE / 4
    for (let i = 0; i < size; i++) this.#words[i] = key[i] as number
    this.#words[size] = SOCKADDR_SIZE
    const own =
      libc.connect(fd, address, v4 ? SOCKADDR_IN_SIZE : SOCKADDR_IN6_SIZE) === 0 &&
      libc.getsockname(fd, address, address + SOCKADDR_SIZE) === 0
    libc.close(fd)
    const [at, words] = addressWords(v4)
    for (let i = at; i < at + words; i++) if (this.#words[i] !== key[i]) return false
    return own
  }
}

/** The way of a sockaddr's address. */
const wayOf = (sockaddr: Int32Array): number => {
  const v4 = isV4(sockaddr)
  const [at, words] = addressWords(v4)
  let sum = v4 ? 1 : 0
  let any = 0
  for (let i = at; i < at + words; i++) {
    any |= sockaddr[i] as number
    sum = Math.imul(sum ^ (sockaddr[i] as number), 0x9e37_79b1)
    sum ^= sum >>> 15
  }
  if (any === 0) return v4 ? V4_WILDCARD : V6_WILDCARD
  return FIRST_HASHED + ((sum >>> 0) % (WAYS - FIRST_HASHED))
}

/** Whether a wildcard's datagram has the very address that it asked as its source. */
const wasAsked = (key: Int32Array): boolean => {
  const [at, words] = addressWords(isV4(key))
  for (let i = 0; i < words; i++) if (key[LOCAL_WORD + i] !== key[at + i]) return false
  return true
}
