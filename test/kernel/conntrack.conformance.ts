/** What every Conntrack does: the real one and the fake run the same tests. */
import { expect, test } from 'vitest'
import type { Conntrack } from '../../src/kernel/conntrack.ts'

interface End {
  readonly address: string
  readonly port: number
}

export interface Seed {
  readonly protocol: 'tcp' | 'udp'
  /** The source port names the flow in these tests. */
  readonly from: End
  readonly to: End
  readonly translatedTo?: End
  readonly state?: 'ESTABLISHED' | 'TIME_WAIT'
}

interface Subject {
  readonly conntrack: Conntrack
  /** Source ports of the flows that are left. */
  readonly left: () => Promise<readonly number[]>
}

const at = (address: string, port: number): End => ({ address, port })
const HOST = '203.0.113.1'
const HOST6 = '2001:db8:9::1'
const OTHER = '203.0.113.77'
const CONTAINER = '172.17.0.2'
const CONTAINER6 = 'fd00:17::2'
const client = (port: number): End => at('203.0.113.9', port)
const client6 = (port: number): End => at('2001:db8:9::9', port)

const SEEDS: readonly Seed[] = [
  { protocol: 'udp', from: client(1001), to: at(HOST, 53), translatedTo: at(CONTAINER, 5353) },
  { protocol: 'udp', from: client(1002), to: at(HOST, 53), translatedTo: at(CONTAINER, 5353) },
  // Older than the rule: not translated.
  { protocol: 'udp', from: client(1003), to: at(HOST, 54) },
  // Passing through to another machine.
  { protocol: 'udp', from: client(1004), to: at(OTHER, 53) },
  { protocol: 'udp', from: client6(1005), to: at(HOST6, 53), translatedTo: at(CONTAINER6, 5353) },
  {
    protocol: 'tcp',
    from: client(1006),
    to: at(HOST, 53),
    translatedTo: at(CONTAINER, 53),
    state: 'ESTABLISHED',
  },
  // To the relay.
  { protocol: 'tcp', from: client(1007), to: at(HOST, 53), state: 'ESTABLISHED' },
  {
    protocol: 'tcp',
    from: client(1008),
    to: at(HOST, 53),
    translatedTo: at(CONTAINER, 53),
    state: 'TIME_WAIT',
  },
  // From a container.
  { protocol: 'udp', from: at(CONTAINER, 1009), to: at(OTHER, 123) },
]
const ALL = SEEDS.map(({ from }) => from.port)
const without = (...gone: readonly number[]) => ALL.filter(port => !gone.includes(port))

const port = (first: number, last = first) => ({ first, last })

export const conntrackConformance = (
  make: (seeds: readonly Seed[], local: readonly string[]) => Promise<Subject>,
): void => {
  const subject = () => make(SEEDS, [HOST, HOST6])

  test.each([
    ['a UDP port on one address', 'udp', [HOST], port(53), [1001, 1002]],
    ['flows older than the rule too', 'udp', [HOST], port(53, 54), [1001, 1002, 1003]],
    ['a wildcard: local addresses of its family only', 'udp', ['0.0.0.0'], port(53), [1001, 1002]],
    ['both wildcards and a wide range', 'udp', ['0.0.0.0', '::'], port(1, 65_535), [1001, 1002, 1003, 1005]],
    ['TCP: what was translated, not what the relay holds', 'tcp', ['0.0.0.0'], port(53), [1006, 1008]],
    ['another address', 'udp', ['203.0.113.2'], port(53), []],
    ['another port', 'udp', ['0.0.0.0'], port(55, 60), []],
  ] as const)('flushes %s', async (_, protocol, hostIps, ports, gone) => {
    const { conntrack, left } = await subject()
    expect(await conntrack.flush([{ protocol, hostIps, ports }])).toEqual({ flushed: gone.length })
    expect(await left()).toEqual(without(...gone))
  })

  test('flushes all that a removed container took part in', async () => {
    const { conntrack, left } = await subject()
    expect(await conntrack.flush([], [CONTAINER, CONTAINER6])).toEqual({ flushed: 6 })
    expect(await left()).toEqual([1003, 1004, 1007])
  })

  test('flushes several at once, and each flow once', async () => {
    const { conntrack, left } = await subject()
    const selectors = (['tcp', 'udp'] as const).map(protocol => ({
      protocol,
      hostIps: [HOST],
      ports: port(53),
    }))
    expect(await conntrack.flush(selectors, [CONTAINER6])).toEqual({ flushed: 5 })
    expect(await left()).toEqual([1003, 1004, 1007, 1009])
  })

  test('flushes nothing when nothing is named', async () => {
    const { conntrack, left } = await subject()
    expect(await conntrack.flush([])).toEqual({ flushed: 0 })
    expect(await left()).toEqual(ALL)
  })

  test('counts live translated flows', async () => {
    const { conntrack } = await subject()
    const counts = (await conntrack.count()) ?? []
    const expected = [
      { protocol: 'udp', address: HOST, port: 53, flows: 2 },
      { protocol: 'udp', address: HOST6, port: 53, flows: 1 },
      { protocol: 'tcp', address: HOST, port: 53, flows: 1 },
    ]
    expect(counts).toHaveLength(expected.length)
    expect(counts).toEqual(expect.arrayContaining(expected))
  })
}
