/**
 * Which host ports portctl itself has given out, so that a conflict between publications is found, with its
 * owner, before anything is changed. Foreign owners are found by bind(2) in the relay.
 *
 * Rules (docker's, reference: moby portallocator): books are per protocol and family; a wildcard conflicts with
 * every address of its family, an address with itself and the wildcard; IPv4 and IPv6 are independent.
 *
 * A claim is made before the transaction that needs it is submitted and released when that fails or when the
 * removal is done: two requests in flight can never hold the same port.
 */
import type { PortRange, Protocol } from '../core/address.ts'

export interface Claim {
  /** Publication id. */
  readonly id: string
  readonly protocol: Protocol
  readonly addresses: readonly string[]
  readonly ports: PortRange
}

const isWildcard = (address: string) => address === '0.0.0.0' || address === '::'
const isV6 = (address: string) => address.includes(':')

/** A claim that stands in the way of another, and the first address and port that both want. */
export interface Conflict {
  readonly holder: Claim
  readonly address: string
  readonly port: number
}

export const addressesMeet = (a: string, b: string) =>
  isV6(a) === isV6(b) && (a === b || isWildcard(a) || isWildcard(b))

const between = (holder: Claim, wanted: Claim): Conflict | undefined => {
  const apart = holder.ports.last < wanted.ports.first || wanted.ports.last < holder.ports.first
  if (holder.protocol !== wanted.protocol || apart) return undefined
  const address = wanted.addresses.find(a => holder.addresses.some(b => addressesMeet(a, b)))
  if (address === undefined) return undefined
  return { holder, address, port: Math.max(holder.ports.first, wanted.ports.first) }
}

export class PortBook {
  readonly #byId = new Map<string, Claim>()
  /** Single ports by number: the common case is O(1) however many there are. */
  readonly #singles = new Map<number, Set<Claim>>()
  readonly #ranges = new Set<Claim>()

  conflict(wanted: Claim): Conflict | undefined {
    for (const holder of this.#near(wanted.ports)) {
      const conflict = between(holder, wanted)
      if (conflict !== undefined) return conflict
    }
    return undefined
  }

  /** The ranges, and the single ports of the range given: by number, or all if these are fewer. */
  *#near({ first, last }: PortRange): Generator<Claim> {
    yield* this.#ranges
    if (last - first >= this.#singles.size) for (const claims of this.#singles.values()) yield* claims
    else for (let port = first; port <= last; port++) yield* this.#singles.get(port) ?? []
  }

  claim(claim: Claim): void {
    this.#byId.set(claim.id, claim)
    if (claim.ports.first !== claim.ports.last) {
      this.#ranges.add(claim)
      return
    }
    const port = claim.ports.first
    const there = this.#singles.get(port)
    if (there === undefined) this.#singles.set(port, new Set([claim]))
    else there.add(claim)
  }

  release(id: string): void {
    const claim = this.#byId.get(id)
    if (claim === undefined) return
    this.#byId.delete(id)
    this.#ranges.delete(claim)
    const there = this.#singles.get(claim.ports.first)
    there?.delete(claim)
    if (there?.size === 0) this.#singles.delete(claim.ports.first)
  }
}
