/** What `ls` shows of traffic that never enters user space: every packet of a published flow is counted once. */
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { Forward } from '../../src/plan/index.ts'
import { COUNTED, readCounters } from '../../src/plan/observed.ts'
import { type Bed, forward, published, useBed } from './kernel-bed.ts'

const bed = useBed()
const SCTP_INIT = fileURLToPath(new URL('sctp-init.mjs', import.meta.url))

let ports = 41_000

/** Bytes of an IP packet that carries a UDP datagram. */
const udpPacket = (family: 4 | 6, payload: number): number => (family === 4 ? 28 : 48) + payload

const SINGLE = { first: 7000, last: 7000 }
const RANGE = { first: 20000, last: 20009 }
const KINDS: readonly (readonly [string, (bed: Bed) => Partial<Forward>])[] = [
  ['a port on every address', () => ({ toPorts: SINGLE })],
  ['a port on one address', ({ host }) => ({ hostIps: [host.ipv4, host.ipv6], toPorts: SINGLE })],
  ['a range', () => ({ ports: RANGE, toPorts: RANGE })],
  [
    'a range on one address',
    ({ host }) => ({ ports: RANGE, toPorts: RANGE, hostIps: [host.ipv4, host.ipv6] }),
  ],
  ['a shifted range', () => ({ ports: RANGE, toPorts: { first: 30000, last: 30009 } })],
  [
    'a shifted range on one address',
    ({ host }) => ({
      ports: RANGE,
      toPorts: { first: 30000, last: 30009 },
      hostIps: [host.ipv4, host.ipv6],
    }),
  ],
]

describe.each(KINDS)('%s', (_, given) => {
  test.each([4, 6] as const)('counts flows and bytes exactly over IPv%i', async family => {
    const { lab, load, traffic, lan, host, web } = bed()
    const one = forward(web, 20005, { protocol: 'udp', ...given(bed()) })
    const idle = forward(web, 30005, { protocol: 'udp' })
    await load(published(one, idle))
    const port = one.toPorts.first + 20005 - one.ports.first
    const server = await lab.serve(web.netns, { kind: 'udp', host: family === 4 ? '0.0.0.0' : '::', port })
    const address = family === 4 ? host.ipv4 : host.ipv6
    const own = family === 4 ? lan.ipv4 : lan.ipv6

    // Flows of earlier tests are still known to conntrack: ports of its own keep them apart.
    ports += 10
    const firstPort = ports
    let [bytesIn, bytesOut] = [0, 0]
    // Two flows of one question, one flow of two.
    for (const flow of [1, 2, 3, 3]) {
      const { reply } = await lab.ask(lan, {
        protocol: 'udp',
        host: address,
        port: 20005,
        payload: 'question',
        from: { address: own, port: firstPort + flow },
      })
      bytesIn += udpPacket(family, 'question'.length)
      bytesOut += udpPacket(family, reply.length)
    }
    expect(await traffic(one.publication)).toEqual({ connections: 3, bytesIn, bytesOut })
    expect(await traffic(idle.publication)).toEqual({ connections: 0, bytesIn: 0, bytesOut: 0 })
    await server.close()
  })
})

test('a flow of one packet that nobody answers is counted', async () => {
  const { lab, load, traffic, lan, host, web } = bed()
  const one = forward(web, 8080, { protocol: 'udp', toPorts: { first: 9, last: 9 } })
  await load(published(one))
  await expect(
    lab.ask(lan, { protocol: 'udp', host: host.ipv4, port: 8080, payload: 'lost', timeout: 200 }),
  ).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  expect(await traffic(one.publication)).toEqual({ connections: 1, bytesIn: udpPacket(4, 4), bytesOut: 0 })
})

test('SCTP is translated and counted like the others', async () => {
  const { lab, load, traffic, lan, host, web } = bed()
  const one = forward(web, 8080, { protocol: 'sctp' })
  await load(published(one))
  await lab.sh(host, 'sysctl', '-qw', 'net.netfilter.nf_conntrack_checksum=0')
  await lab.exec(web.netns, 'sh', ['-c', 'cat | nft -f -'], {
    input: `table inet probe {
      chain input { type filter hook input priority 0; sctp dport 80 counter; }
    }\n`,
  })
  await lab.sh(lan, process.execPath, SCTP_INIT, host.ipv4, '8080')
  expect(await traffic(one.publication)).toEqual({ connections: 1, bytesIn: 20 + 32, bytesOut: 0 })
  expect(await lab.sh(web.netns, 'nft', 'list', 'table', 'inet', 'probe')).toContain('packets 1 bytes 52')
})

test('flows of this host and of containers count like any other', async () => {
  const { lab, load, traffic, host, web, neighbour, stranger } = bed()
  const one = forward(web, 8080, { protocol: 'udp' })
  await load(published(one))
  let [connections, bytesIn, bytesOut] = [0, 0, 0]
  for (const [from, address] of [
    [host, '127.0.0.1'],
    [host, host.ipv4],
    [web.netns, host.ipv4],
    [neighbour.netns, host.ipv4],
    [stranger.netns, host.ipv4],
  ] as const) {
    const { reply } = await lab.ask(from, { protocol: 'udp', host: address, port: 8080, payload: 'question' })
    connections += 1
    bytesIn += udpPacket(4, 'question'.length)
    bytesOut += udpPacket(4, reply.length)
  }
  expect(await traffic(one.publication)).toEqual({ connections, bytesIn, bytesOut })
})

test('a TCP connection counts once, its bytes with their headers', async () => {
  const { lab, load, traffic, lan, host, web } = bed()
  const one = forward(web, 8080)
  await load(published(one))
  const payload = 'x'.repeat(100_000)
  const { reply } = await lab.ask(lan, { protocol: 'tcp', host: host.ipv4, port: 8080, payload })
  const { connections, bytesIn, bytesOut } = await traffic(one.publication)
  expect(connections).toBe(1)
  expect(bytesIn).toBeGreaterThan(payload.length)
  expect(bytesIn).toBeLessThan(payload.length * 1.2)
  expect(bytesOut).toBeGreaterThan(reply.length)
  expect(bytesOut).toBeLessThan(reply.length * 1.2)
})

test('a publication that moves to another container goes on counting its bytes', async () => {
  const { load, change, traffic, visit, lan, host, web, neighbour } = bed()
  const before = forward(web, 8080)
  await load(published(before))
  await visit(lan, host.ipv4, 8080)
  const { bytesOut } = await traffic(before.publication)
  expect(bytesOut).toBeGreaterThan(0)
  const after: Forward = { ...before, to: { 4: neighbour[4] } }
  await change({ op: 'remove-forward', forward: before }, { op: 'add-forward', forward: after })
  expect(await visit(lan, host.ipv4, 8080)).toMatchObject({ name: 'neighbour' })
  expect((await traffic(before.publication)).bytesOut).toBeGreaterThan(bytesOut)
})

test('listing only what counts gives the same', async () => {
  const { load, nft, listing, visit, lan, host, web } = bed()
  await load(
    published(forward(web, 8080), forward(web, 20000, { ports: RANGE, toPorts: { first: 80, last: 89 } })),
  )
  await visit(lan, host.ipv6, 8080)
  await visit(lan, host.ipv4, 20000)
  const counted = readCounters(await nft.listSets({ family: 'inet', table: 'portctl' }, COUNTED))
  expect(counted.size).toBe(2)
  expect(counted).toEqual(readCounters(await listing()))
})
