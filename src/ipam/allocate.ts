/**
 * Addresses out of a pool, next-fit: the search starts after the one given out last and wraps around, so an address
 * that was just freed (and that neighbours still have in their caches) is the last to be used again.
 * Never handed out: the network's own address, the broadcast address (IPv4) and the gateway, which is the first host.
 */
import {
  type Address,
  addressFromBigint,
  addressToBigint,
  type Cidr,
  cidrSize,
  contains,
  formatCidr,
} from '../core/address.ts'
import { PortctlError } from '../core/errors.ts'

/** The bridge's own address on a network: the first of it. */
export const gatewayOf = (pool: Cidr): Address => addressFromBigint(pool.family, pool.base + 1n)

/** First and last address that can be a container's. */
const bounds = (pool: Cidr): { readonly first: bigint; readonly last: bigint } => ({
  first: pool.base + 2n,
  last: pool.base + cidrSize(pool) - (pool.family === 4 ? 2n : 1n),
})

const whyNot = (pool: Cidr, address: string): string | null => {
  if (!contains(pool, address)) return 'it is outside the network'
  if (address === gatewayOf(pool)) return "it is the gateway's"
  const { first, last } = bounds(pool)
  const value = addressToBigint(address)
  if (value < first) return "it is the network's own address"
  return value > last ? 'it is the broadcast address' : null
}

/**
 * `cursor` is the address given out last, or null at first. With `requested`, that one or an error.
 * @throws `address-taken`, `address-out-of-range`, `pool-exhausted`
 */
export const allocate = (
  pool: Cidr,
  taken: ReadonlySet<string>,
  cursor: Address | null,
  requested?: Address,
): Address => {
  if (requested !== undefined) {
    const why = whyNot(pool, requested)
    if (why !== null)
      throw PortctlError.of('address-out-of-range', { address: requested, pool: formatCidr(pool), why })
    if (taken.has(requested))
      throw PortctlError.of('address-taken', { address: requested, pool: formatCidr(pool) })
    return requested
  }
  const { first, last } = bounds(pool)
  const size = last - first + 1n
  const start = cursor !== null && contains(pool, cursor) ? addressToBigint(cursor) + 1n - first : 0n
  // One more try than there are taken addresses finds a free one, if there is one: no scan of a whole /64.
  const tries = size < BigInt(taken.size) + 1n ? size : BigInt(taken.size) + 1n
  for (let i = 0n; i < tries; i++) {
    const candidate = addressFromBigint(pool.family, first + ((((start + i) % size) + size) % size))
    if (!taken.has(candidate)) return candidate
  }
  throw PortctlError.of('pool-exhausted', { pool: formatCidr(pool) })
}

/** A locally administered MAC address that goes with an IPv4 address, 02:42 and its four bytes: stable, so that
 * neighbours' caches stay true when a container comes back with its address. */
export const macFromIpv4 = (address: string): string => {
  const value = addressToBigint(address)
  const bytes = [24n, 16n, 8n, 0n].map(shift => Number((value >> shift) & 0xffn))
  return ['02', '42', ...bytes.map(byte => byte.toString(16).padStart(2, '0'))].join(':')
}
