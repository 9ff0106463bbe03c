/**
 * The places of containers on networks. An address is taken by a container's record, or by a request that is not
 * through yet: from `claim` to `release` it is that request's alone. Each pool's search goes on after the address that
 * it gave out last (ipam/allocate.ts); one that was asked for does not move it.
 */
import { type Address, familyOf, parseAddress, parseCidr } from '../core/address.ts'
import { PortctlError } from '../core/errors.ts'
import { allocate, macFromIpv4 } from '../ipam/index.ts'
import type { Container, Endpoint, Network } from '../model/index.ts'

/** Without their prefix lengths. */
export const addressesOf = ({ ipv4, ipv6 }: Endpoint): readonly string[] =>
  [ipv4, ipv6].flatMap(cidr => (cidr === null ? [] : [cidr.replace(PREFIX, '')]))

const PREFIX = /\/.*/

/** Locally administered, from the random first digits of the id. */
const macFromId = (id: string): string => `02:42:${id.slice(0, 8).replace(/..(?!$)/g, '$&:')}`

export class ContainerAddresses {
  readonly #containers: () => Iterable<Container>
  readonly #claimed = new Set<string>()
  /** By subnet: what was given out last. */
  readonly #cursors = new Map<string, Address>()

  constructor(containers: () => Iterable<Container>) {
    this.#containers = containers
  }

  /** @throws `address-invalid`, `address-out-of-range`, `address-taken`, `pool-exhausted` */
  claim(id: string, network: Network, wanted?: string): Endpoint {
    const requested = wanted === undefined ? undefined : parseAddress(wanted)
    if (requested !== undefined && (familyOf(requested) === 4 ? network.subnet4 : network.subnet6) === null)
      throw PortctlError.of('address-out-of-range', {
        address: requested,
        pool: `network '${network.name}'`,
        why: `it has no IPv${familyOf(requested)}`,
      })
    const ipv4 = network.subnet4 === null ? null : this.#pick(network.subnet4, requested)
    const ipv6 = network.subnet6 === null ? null : this.#pick(network.subnet6, requested)
    const endpoint: Endpoint = {
      network: network.name,
      interfaceName: 'eth0',
      hostInterface: `veth${id.slice(0, 9)}`,
      ipv4,
      ipv6,
      mac: ipv4 === null ? macFromId(id) : macFromIpv4(ipv4.replace(PREFIX, '')),
    }
    for (const address of addressesOf(endpoint)) this.#claimed.add(address)
    return endpoint
  }

  release(endpoint: Endpoint): void {
    for (const address of addressesOf(endpoint)) this.#claimed.delete(address)
  }

  /** In CIDR form. */
  #pick(subnet: string, requested: Address | undefined): string {
    const pool = parseCidr(subnet)
    const cursor = this.#cursors.get(subnet) ?? null
    const mine = requested !== undefined && familyOf(requested) === pool.family
    const address = allocate(pool, this.#taken(), cursor, ...(mine ? [requested] : []))
    if (!mine) this.#cursors.set(subnet, address)
    return `${address}/${pool.prefix}`
  }

  #taken(): ReadonlySet<string> {
    const stored = [...this.#containers()].flatMap(({ endpoints }) => endpoints.flatMap(addressesOf))
    return new Set([...stored, ...this.#claimed])
  }
}
