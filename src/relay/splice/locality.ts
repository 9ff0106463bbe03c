/**
 * Whether what is sent to a target arrives on this host, and may so come back to the relay: what the loop guards
 * (tcp-loops.ts, udp-loops.ts) need to know before they remember a socket.
 *
 * Addresses and local routes count. What leads back by translation, here or on a router, is not seen: a service that leads to
 * such an address and so to itself circles. To suspect every target instead would cut off real clients: with
 * thousands of UDP flows many a client has the source port of one of them, and seems to have passed a service.
 */
import {
  EADDRNOTAVAIL,
  familyOf,
  type Libc,
  type Pinned,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCKADDR_SIZE,
  writeSockaddr,
} from '../../kernel/libc/index.ts'
import type { RelayTarget } from '../engine.ts'
import { isOwnNamespace } from '../loops.ts'

/** Milliseconds for which an answer is believed. */
const LOOK_EVERY = 1_000

export class Locality {
  readonly #libc: Libc
  readonly #target: RelayTarget
  readonly #sockaddr: Pinned
  readonly #length: number
  #answer = false
  #asOf = Number.NEGATIVE_INFINITY

  constructor(libc: Libc, target: RelayTarget) {
    this.#libc = libc
    this.#target = target
    this.#sockaddr = libc.pin(SOCKADDR_SIZE)
    this.#length = writeSockaddr(libc, this.#sockaddr, 0, { address: target.address, port: 0 })
  }

  /** In doubt the answer is yes. `now`: the loop's clock. */
  isHere(now: number): boolean {
    if (now - this.#asOf >= LOOK_EVERY) {
      this.#answer = isOwnNamespace(this.#target.netns) && this.#mayBind()
      this.#asOf = now
    }
    return this.#answer
  }

  /** The kernel is asked by bind(2): it knows local routes as well as addresses. (With ip_nonlocal_bind it knows none.) */
  #mayBind(): boolean {
    const libc = this.#libc
    const fd = libc.socket(familyOf(this.#target.address), SOCK_DGRAM | SOCK_CLOEXEC, 0)
    if (fd < 0) return true
    const may = libc.bind(fd, this.#sockaddr.address, this.#length) === 0 || libc.errno() !== EADDRNOTAVAIL
    libc.close(fd)
    return may
  }
}
