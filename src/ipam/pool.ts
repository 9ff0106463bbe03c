/**
 * Which private network a new bridge gets: the first that overlaps no address and no route of this host.
 * IPv4: a /16 of 172.16/12, from 172.17 on with 172.16 last (what people know from docker), then of 10/8 (RFC 1918).
 * IPv6: a random /48 of fd00::/8 and in it subnet 0 (RFC 4193, section 3.2).
 */
import { randomBytes } from 'node:crypto'
import { addressToBigint, type Cidr, overlaps } from '../core/address.ts'
import { PortctlError } from '../core/errors.ts'

const POOL_PREFIX = 16
const SECOND_OCTETS = [17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 16] as const

const pool4 = (first: number, second: number): Cidr => ({
  family: 4,
  base: (BigInt(first) << 24n) | (BigInt(second) << 16n),
  prefix: POOL_PREFIX,
})

const CANDIDATES: readonly Cidr[] = [
  ...SECOND_OCTETS.map(second => pool4(172, second)),
  ...Array.from({ length: 256 }, (_, second) => pool4(10, second)),
]

/** @throws `no-free-pool` */
export const choosePool = (occupied: readonly Cidr[]): Cidr => {
  const free = CANDIDATES.find(candidate => !occupied.some(block => overlaps(candidate, block)))
  if (free === undefined) throw PortctlError.of('no-free-pool', { family: 4 })
  return free
}

const ULA = addressToBigint('fd00::')
/** Bits right of the 40-bit global id: 16 of subnet id, 64 of interface id. */
const GLOBAL_ID_SHIFT = 80n
/** Tries; the chance that a free /48 is missed even once is 2⁻⁴⁰ for each occupied one. */
const TRIES = 64

/** @throws `no-free-pool` when, say, all of fd00::/8 is routed somewhere. */
export const choosePool6 = (
  occupied: readonly Cidr[],
  globalId: () => Buffer = () => randomBytes(5),
): Cidr => {
  for (let i = 0; i < TRIES; i++) {
    const id = BigInt(`0x${globalId().toString('hex')}`)
    const candidate: Cidr = { family: 6, base: ULA | (id << GLOBAL_ID_SHIFT), prefix: 64 }
    if (!occupied.some(block => overlaps(candidate, block))) return candidate
  }
  throw PortctlError.of('no-free-pool', { family: 6 })
}
