/** What every engine owes for UDP, said once: datagrams, flows, addresses and ports. Targets: conformance-udp-targets.ts. */
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { describeUdpTargets } from './conformance-udp-targets.ts'
import { LOCAL, type MakeEngine, openDescriptors, type UdpAbilities, udpBed } from './udp-bed.ts'
import { HOST_ADDRESSES, type Peer } from './udp-peers.ts'

export const describeUdpEngine = (
  name: string,
  factory: MakeEngine,
  abilities: UdpAbilities = { pktinfo: true, netns: true },
): void => {
  describe(`${name}: UDP`, () => {
    const bed = udpBed(factory)
    const { ports, port, client, backend, echo, open, counters } = bed

    describe('datagrams', () => {
      it.each([0, 1, 64, 1472, 9000, 65_507])('of %i bytes arrive whole, both ways', async size => {
        const server = await echo()
        const service = await open({ address: LOCAL }, server.port)
        const peer = await client(LOCAL, service.port)
        const data = Buffer.from(Array.from({ length: size }, (_, i) => (i * 7) % 251))
        expect((await peer.ask(data)).data.equals(data)).toBe(true)
        expect((await server.receive()).data.equals(data)).toBe(true)
      })

      it('keep their boundaries and order in bursts of any sizes', async () => {
        const server = await echo()
        const service = await open({ address: LOCAL }, server.port)
        const peer = await client(LOCAL, service.port)
        await fc.assert(
          fc.asyncProperty(
            fc.array(fc.uint8Array({ maxLength: 3000 }), { minLength: 1, maxLength: 100 }),
            async burst => {
              const sent = burst.map(bytes => Buffer.from(bytes))
              await Promise.all(sent.map(data => peer.send(data)))
              for (const data of sent) expect((await peer.receive()).data).toEqual(data)
            },
          ),
          { numRuns: 30 },
        )
      })

      it('come back in any number for one question, or unasked later', async () => {
        const server = await backend()
        const service = await open({ address: LOCAL }, server.port)
        const peer = await client(LOCAL, service.port)
        await peer.send('hello')
        const { from } = await server.receive()
        for (const text of ['one', 'two', 'three']) await server.send(text, from)
        for (const text of ['one', 'two', 'three']) expect(String((await peer.receive()).data)).toBe(text)
        await server.send('later', from)
        expect(String((await peer.receive()).data)).toBe('later')
      })
    })

    describe('flows', () => {
      it('are one socket a client, and stay apart', async () => {
        const server = await echo()
        const service = await open({ address: LOCAL }, server.port)
        const clients = await Promise.all(Array.from({ length: 40 }, () => client(LOCAL, service.port)))
        for (const round of ['a', 'b']) {
          const answers = await Promise.all(clients.map((c, i) => c.ask(`${round}${i}`)))
          expect(answers.map(a => String(a.data))).toEqual(clients.map((_, i) => `${round}${i}`))
        }
        const sources = new Set(server.unread.map(arrival => arrival.from.port))
        expect(sources.size).toBe(40)
        expect(await counters(service.id)).toMatchObject({ active: 40, total: 40 })
      })

      it('are counted, with payload bytes each way', async () => {
        const server = await backend()
        const service = await open({ address: LOCAL }, server.port)
        const peer = await client(LOCAL, service.port)
        await peer.send(Buffer.alloc(1000))
        await peer.send(Buffer.alloc(0))
        const { from } = await server.receive()
        await server.send(Buffer.alloc(300), from)
        await peer.receive()
        await server.receive()
        await vi.waitFor(async () =>
          expect(await counters(service.id)).toEqual({ active: 1, total: 1, bytesIn: 1000, bytesOut: 300 }),
        )
      })

      it('are forgotten when idle, and made again', async () => {
        const server = await echo()
        const service = await open({ address: LOCAL }, server.port, { limits: { flowTimeout: 150 } })
        const peer = await client(LOCAL, service.port)
        await peer.ask('one')
        await vi.waitFor(async () => expect((await counters(service.id)).active).toBe(0), 5000)
        await peer.ask('two')
        expect((await counters(service.id)).total).toBe(2)
        expect(server.unread[0]?.from.port).not.toBe(server.unread[1]?.from.port)
      })

      it.each(['client', 'backend'] as const)('live on while the %s alone sends', async side => {
        const server = await backend()
        const flowTimeout = 1000
        const service = await open({ address: LOCAL }, server.port, { limits: { flowTimeout } })
        const peer = await client(LOCAL, service.port)
        await peer.send('hello')
        const { from } = await server.receive()
        const until = performance.now() + 2.5 * flowTimeout
        while (performance.now() < until) {
          if (side === 'client') await peer.send('on')
          else await server.send('on', from)
          await (side === 'client' ? server : peer).receive()
          await new Promise(resolve => setTimeout(resolve, flowTimeout / 10))
        }
        expect(await counters(service.id)).toMatchObject({ active: 1, total: 1 })
      })

      it('are bounded: the one unused for longest makes room', async () => {
        const server = await echo()
        const service = await open({ address: LOCAL }, server.port, { limits: { maxConnections: 3 } })
        const clients = await Promise.all(Array.from({ length: 4 }, () => client(LOCAL, service.port)))
        const [a, b, c, d] = clients as [Peer, Peer, Peer, Peer]
        for (const peer of [a, b, c, a, d]) await peer.ask('x')
        expect(await counters(service.id)).toMatchObject({ active: 3, total: 4 })
        const source = () => server.unread.at(-1)?.from.port
        const first = server.unread[0]?.from.port
        await a.ask('x')
        expect(source()).toBe(first)
        await b.ask('x')
        expect(source()).not.toBe(server.unread[1]?.from.port)
        expect(await counters(service.id)).toMatchObject({ active: 3, total: 5 })
      })
    })

    describe('addresses', () => {
      it.each([
        ['::1', '::1', '127.0.0.1', 'an IPv6 client reaches an IPv4 target'],
        ['127.0.0.1', '127.0.0.1', '::1', 'an IPv4 client reaches an IPv6 target'],
        ['::', HOST_ADDRESSES.v6[0], '::1', 'IPv6 throughout'],
      ])('%s asked at %s for %s: %s', async (listen, asked, target) => {
        const server = await echo(target)
        const service = await open({ address: target }, server.port, { addresses: [listen] })
        expect(String((await (await client(asked, service.port)).ask('hi')).data)).toBe('hi')
      })

      it('an IPv6 wildcard leaves IPv4 alone', async () => {
        const at = port()
        await open({ address: LOCAL }, 9, { addresses: ['::'], ports: { first: at, last: at } })
        await backend('0.0.0.0', at)
      })

      if (abilities.pktinfo)
        it.each([
          ['0.0.0.0', [LOCAL, ...HOST_ADDRESSES.v4]],
          ['::', ['::1', ...HOST_ADDRESSES.v6]],
        ])('%s answers from the very address that was asked', async (listen, asked) => {
          const server = await echo()
          const service = await open({ address: LOCAL }, server.port, { addresses: [listen] })
          // A client elsewhere on the host: left to itself, the kernel would answer from the client's own address.
          const one = await backend(asked[0])
          for (const address of asked) {
            const peer = await client(address, service.port)
            expect(String((await peer.ask(address)).data)).toBe(address)
            await one.send(address, { address, port: service.port })
            const { data, from } = await one.receive()
            expect([String(data), from.address, from.port]).toEqual([address, address, service.port])
          }
        })

      it('all addresses of a service lead to one target, and one count', async () => {
        const server = await echo()
        const addresses = [LOCAL, '::1', HOST_ADDRESSES.v4[0]]
        const service = await open({ address: LOCAL }, server.port, { addresses })
        for (const address of addresses) await (await client(address, service.port)).ask(address)
        expect((await counters(service.id)).total).toBe(3)
      })
    })

    describe('port ranges', () => {
      it('lead port by port to a range as long', async () => {
        const targets = ports(3)
        const servers = await Promise.all([0, 1, 2].map(i => echo(LOCAL, targets.first + i)))
        const range = ports(3)
        await open({ address: LOCAL }, targets, { ports: range })
        for (const i of [0, 1, 2]) {
          await (await client(LOCAL, range.first + i)).ask(`${i}`)
          expect(servers[i]?.unread.map(a => String(a.data))).toEqual([`${i}`])
        }
      })

      it('lead all to a single target port', async () => {
        const server = await echo()
        const range = ports(3)
        const service = await open({ address: LOCAL }, server.port, { ports: range })
        for (const i of [0, 1, 2]) await (await client(LOCAL, range.first + i)).ask(`${i}`)
        expect(server.unread.length).toBe(3)
        expect((await counters(service.id)).total).toBe(3)
      })

      it('of 500 open and close whole', async () => {
        const before = openDescriptors()
        const server = await echo()
        const range = ports(500)
        const service = await open({ address: LOCAL }, server.port, { ports: range })
        for (const at of [range.first, range.last]) await (await client(LOCAL, at)).ask('x')
        await bed.engine.close([service.id])
        await backend(LOCAL, range.first)
        await backend(LOCAL, range.last)
        await vi.waitFor(() => expect(openDescriptors()).toBeLessThan(before + 10))
      })
    })

    describeUdpTargets(bed, abilities)
  })
}
