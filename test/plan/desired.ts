/** Arbitrary states of the table, for properties. */
import fc from 'fast-check'
import type { Protocol } from '../../src/core/address.ts'
import type { BridgeNet, Desired, Forward, Opened } from '../../src/plan/index.ts'

/**
 * Ports come in blocks, and one forward has one block of a protocol to itself: no two claim the same port, as the
 * port book sees to. Blocks are few, so that two states often give one to different publications.
 */
const BLOCK = 16
const blockStart = (block: number): number => 1024 + block * BLOCK

const publication = fc.integer({ min: 0, max: 9 }).map(n => n.toString(16).padStart(12, '0'))
const hostIps = fc.oneof(
  fc.constantFrom(['0.0.0.0', '::'], ['0.0.0.0'], ['::']),
  fc.uniqueArray(fc.constantFrom('127.0.0.1', '127.0.0.53', '192.0.2.1', '192.0.2.2', '2001:db8::1'), {
    minLength: 1,
    maxLength: 3,
  }),
)
const to = fc.constantFrom<Forward['to']>(
  {},
  { 4: '172.18.0.2' },
  { 6: 'fd00::2' },
  { 4: '172.18.0.3', 6: 'fd00::3' },
)

const forwardIn = (block: number, protocol: Protocol): fc.Arbitrary<Forward> =>
  fc
    .record({
      publication,
      hostIps,
      to,
      offset: fc.nat(3),
      length: fc.constantFrom(1, 1, 2, 10),
      shift: fc.constantFrom(0, 1, 5000),
    })
    .map(({ offset, length, shift, ...rest }) => {
      const first = blockStart(block) + offset
      const ports = { first, last: first + length - 1 }
      return { ...rest, protocol, ports, toPorts: { first: first + shift, last: ports.last + shift } }
    })

const place = fc.record({
  block: fc.nat(3),
  protocol: fc.constantFrom<Protocol>('tcp', 'udp', 'sctp'),
})

const forwards: fc.Arbitrary<readonly Forward[]> = fc
  .uniqueArray(place, { selector: ({ block, protocol }) => `${block} ${protocol}`, maxLength: 6 })
  .chain(places => fc.tuple(...places.map(({ block, protocol }) => forwardIn(block, protocol))))
  .map(list => list.filter((f, i) => list.findIndex(other => other.publication === f.publication) === i))

const NETWORKS: readonly BridgeNet[] = [
  { bridge: 'portctl0', subnet4: '172.18.0.0/16', subnet6: 'fd00::/64' },
  { bridge: 'portctl0', subnet4: '172.19.0.0/16', subnet6: null, resolver4: '172.19.0.1' },
  { bridge: 'br-other', subnet4: null, subnet6: 'fd01::/64' },
]
const networks = fc.uniqueArray(fc.constantFrom(...NETWORKS), { selector: net => net.bridge })
const interfaces = fc.uniqueArray(fc.constantFrom('eth0', 'eth1', 'wlan0')).map(names => names.sort())
const opened: fc.Arbitrary<Opened> = fc.record({ 4: interfaces, 6: interfaces }, { noNullPrototype: true })

export const desired: fc.Arbitrary<Desired> = fc.record({ forwards, networks, opened })

/** Forwards and networks have no order. */
export const unordered = ({ forwards, networks, opened }: Desired) => ({
  forwards: [...forwards].sort((a, b) => a.publication.localeCompare(b.publication)),
  networks: [...networks].sort((a, b) => a.bridge.localeCompare(b.bridge)),
  opened,
})
