/**
 * Keeps datagrams from circling between our own sockets, which no hop limit in the packet would stop. Asked once
 * per new flow, never per datagram.
 *
 * Two ways to circle. A *forged* source that is one of our listeners: the answer would become a question to that
 * listener; such a datagram is dropped. A *target* that is one of our listeners: the client is then a flow's
 * socket of ours. That is legitimate (a publication that leads to another one), so such sockets are remembered with
 * the number of services passed, and the chain is cut beyond MAX_HOPS; a service that leads to itself, or two that
 * lead to each other, end there. Services may belong to different threads, so what is remembered is shared by all.
 */
import { AF_INET, type Libc, type Pinned, SOCKADDR_SIZE, writeSockaddr } from '../../kernel/libc/index.ts'
import type { ServiceSpec } from '../engine.ts'
import { MAX_HOPS } from '../loops.ts'
import type { Loop } from './loop.ts'
import { LOCAL_WORD } from './udp-flows.ts'
import { grown } from './wheel.ts'

const PORTS = 65_536

/** Words of a sockaddr where the address lies. */
const addressWords = (v4: boolean): readonly [number, number] => (v4 ? [1, 1] : [2, 4])

/** Port of a sockaddr whose first word is given: network order in the upper half. */
const portOf = (word: number): number => ((word >>> 24) & 0xff) | ((word >>> 8) & 0xff00)

/** Family and port, the part of a socket's own address that tells our sockets apart, as an index into `hops`. */
const socketKey = (word: number): number => portOf(word) + ((word & 0xffff) === AF_INET ? 0 : PORTS)

/** What the threads share: by port, how many listeners of ours have it, on any address; by socket, services passed. Atomics only. */
const LISTENERS_BYTES = PORTS * Int32Array.BYTES_PER_ELEMENT
export const UDP_PASSAGES_BYTES = LISTENERS_BYTES + 2 * PORTS

interface Listening {
  readonly spec: ServiceSpec
  /** A sockaddr of 7 words for each of the service's addresses; the port is left out. */
  readonly addresses: readonly Int32Array[]
}

export class LoopGuard {
  readonly #libc: Libc
  readonly #sockaddr: Pinned
  readonly #words: Int32Array
  readonly #listenersOn: Int32Array
  readonly #services = new Map<number, Listening>()
  /** `socketKey` of a flow's socket → services that a datagram from it has passed. */
  readonly #hops: Uint8Array
  /** Descriptor → its key in `#hops`, 0 for none: no socket has port 0 of IPv4. */
  #key = new Int32Array(0)

  constructor(libc: Libc, loop: Loop, shared: SharedArrayBuffer) {
    this.#libc = libc
    this.#listenersOn = new Int32Array(shared, 0, PORTS)
    this.#hops = new Uint8Array(shared, LISTENERS_BYTES)
    // A sockaddr, then its length for getsockname(2).
    this.#sockaddr = libc.pin(SOCKADDR_SIZE + 4)
    this.#words = new Int32Array(this.#sockaddr.bytes.buffer)
    loop.onGrow(capacity => {
      this.#key = grown(this.#key, capacity)
    })
  }

  listening(slot: number, spec: ServiceSpec): void {
    const addresses = spec.addresses.map(address => {
      writeSockaddr(this.#libc, this.#sockaddr, 0, { address, port: 0 })
      return this.#words.slice(0, SOCKADDR_SIZE / 4)
    })
    this.#services.set(slot, { spec, addresses })
    this.#countPorts(spec, 1)
  }

  silent(slot: number): void {
    const listening = this.#services.get(slot)
    if (listening !== undefined) this.#countPorts(listening.spec, -1)
    this.#services.delete(slot)
  }

  /** Whether the datagram's source, which has no flow yet, is a listener of ours. `key` as in udp-flows.ts. */
  fromListener(key: Int32Array): boolean {
    const port = portOf(key[0] as number)
    if (Atomics.load(this.#listenersOn, port) === 0) return false
    for (const { spec, addresses } of this.#services.values())
      if (spec.ports.first <= port && port <= spec.ports.last)
        if (addresses.some(address => listensAt(address, key))) return true
    return false
  }

  /** Services that a datagram with this source has passed already, or −1 when it must go no further. */
  hopsOf(key: Int32Array): number {
    const hops = Atomics.load(this.#hops, socketKey(key[0] as number))
    return hops < MAX_HOPS ? hops : -1
  }

  /** A flow got its socket: remembers it if the target may be a listener of ours. */
  connected(fd: number, targetPort: number, hops: number): void {
    if (Atomics.load(this.#listenersOn, targetPort) === 0) return
    this.#words[SOCKADDR_SIZE / 4] = SOCKADDR_SIZE
    const { address } = this.#sockaddr
    if (this.#libc.getsockname(fd, address, address + SOCKADDR_SIZE) < 0) return
    const own = socketKey(this.#words[0] as number)
    this.#key[fd] = own
    Atomics.store(this.#hops, own, hops + 1)
  }

  /** A flow's socket is about to be closed. */
  closing(fd: number): void {
    const own = this.#key[fd] as number
    if (own === 0) return
    this.#key[fd] = 0
    Atomics.store(this.#hops, own, 0)
  }

  #countPorts(spec: ServiceSpec, sign: 1 | -1): void {
    for (let port = spec.ports.first; port <= spec.ports.last; port++)
      Atomics.add(this.#listenersOn, port, sign * spec.addresses.length)
  }
}

/**
 * Whether a listener at `address` hears what is sent to the source in `key`: it is bound to that very address, or to the
 * wildcard and the source is this host: loopback, or the very address that was asked. (Other addresses of this
 * host as a source from outside are dropped by the kernel as martians.)
 */
const listensAt = (address: Int32Array, key: Int32Array): boolean => {
  const family = (key[0] as number) & 0xffff
  if (((address[0] as number) & 0xffff) !== family) return false
  const v4 = family === AF_INET
  const [at, words] = addressWords(v4)
  let same = true
  let wildcard = true
  let asked = true
  for (let i = 0; i < words; i++) {
    const word = key[at + i]
    if (address[at + i] !== word) same = false
    if (address[at + i] !== 0) wildcard = false
    if (key[LOCAL_WORD + i] !== word) asked = false
  }
  return same || (wildcard && (asked || (v4 && ((key[1] as number) & 0xff) === 127)))
}
