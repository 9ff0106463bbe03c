/** What every engine owes for UDP, said once. Runs in a network namespace of its own. */
import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { PortRange } from '../../src/core/address.ts'
import {
  DEFAULT_LIMITS,
  type Engine,
  type Limits,
  type RelayTarget,
  type ServiceCounters,
  type ServiceSpec,
} from '../../src/relay/engine.ts'
import { echoInNamespace, enterNamespace, HOST_ADDRESSES, Peer } from './udp-peers.ts'

/** What an engine can do beyond plain sockets. */
export interface UdpAbilities {
  /** Answers from the address asked although the listener is a wildcard. */
  readonly pktinfo: boolean
  /** Connects from inside another network namespace. */
  readonly netns: boolean
}

const LOCAL = '127.0.0.1'
/** What waits in the kernel for whoever holds the IPv4 port. */
const unreadBytes = (port: number): number => {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')} `
  const line = readFileSync('/proc/thread-self/net/udp', 'utf8')
    .split('\n')
    .find(l => l.includes(local))
  // sl local_address rem_address st tx_queue:rx_queue …, hexadecimal.
  return Number.parseInt(/^\s*\d+: \S+ \S+ \S+ \S+:(\S+)/.exec(line ?? '')?.[1] ?? 'ffff', 16)
}
const openDescriptors = (): number => readdirSync('/proc/self/fd').length

export const describeUdpEngine = (
  name: string,
  factory: () => Engine | Promise<Engine>,
  abilities: UdpAbilities = { pktinfo: true, netns: true },
): void => {
  describe(`${name}: UDP`, () => {
    let engine: Engine
    let nextPort = 20_000
    let nextId = 0
    const cleanups: (() => Promise<unknown>)[] = []

    beforeAll(async () => {
      enterNamespace()
      engine = await factory()
    })
    afterEach(async () => {
      await engine.close((await engine.services()).map(service => service.id))
      for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
    })
    afterAll(async () => {
      await engine?.shutdown()
    })

    /** Ports are ours alone: the namespace is fresh. */
    const ports = (count = 1): PortRange => {
      nextPort += count
      return { first: nextPort - count, last: nextPort - 1 }
    }
    const port = () => ports().first
    const keep = (peer: Peer): Peer => {
      cleanups.push(() => peer.close())
      return peer
    }
    const client = async (address: string, at: number) => keep(await Peer.connect(address, at))
    const backend = async (address = LOCAL, at = 0) => keep(await Peer.bind(address, at))
    const echo = async (address = LOCAL, at = 0) => keep(await Peer.bind(address, at, { echo: true }))

    const spec = (
      target: RelayTarget | null,
      targetPorts: number | PortRange,
      rest: Partial<Omit<ServiceSpec, 'limits'>> & { readonly limits?: Partial<Limits> } = {},
    ): ServiceSpec => ({
      id: `udp-${nextId++}`,
      protocol: 'udp',
      addresses: [LOCAL],
      ports: ports(),
      target,
      targetPorts: typeof targetPorts === 'number' ? { first: targetPorts, last: targetPorts } : targetPorts,
      ...rest,
      limits: { ...DEFAULT_LIMITS, ...rest.limits },
    })
    const open = async (...args: Parameters<typeof spec>) => {
      const service = spec(...args)
      await engine.open([service])
      return { id: service.id, port: service.ports.first }
    }
    const counters = async (id: string): Promise<ServiceCounters> => {
      const found = (await engine.counters()).get(id)
      if (found === undefined) throw new Error(`no counters for ${id}`)
      return found
    }

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
        await engine.close([service.id])
        await backend(LOCAL, range.first)
        await backend(LOCAL, range.last)
        await vi.waitFor(() => expect(openDescriptors()).toBeLessThan(before + 10))
      })
    })

    describe('targets', () => {
      it('null drops, until there is one', async () => {
        const server = await echo()
        const service = await open(null, server.port)
        const peer = await client(LOCAL, service.port)
        await peer.send('lost')
        await vi.waitUntil(() => unreadBytes(service.port) === 0)
        expect(await counters(service.id)).toMatchObject({ total: 0, bytesIn: 0 })
        await engine.retarget(service.id, { address: LOCAL })
        expect(String((await peer.ask('found')).data)).toBe('found')
        expect(server.unread.map(a => String(a.data))).toEqual(['found'])
      })

      it('change at once for clients that keep sending', async () => {
        const at = port()
        const [one, two] = [await echo('127.0.0.2', at), await echo('127.0.0.3', at)]
        const service = await open({ address: '127.0.0.2' }, at)
        const peer = await client(LOCAL, service.port)
        await peer.ask('one')
        await engine.retarget(service.id, { address: '127.0.0.3' })
        expect((await counters(service.id)).active).toBe(0)
        await peer.ask('two')
        expect([one, two].map(s => s.unread.map(a => String(a.data)))).toEqual([['one'], ['two']])
        const { active, total, bytesIn } = await counters(service.id)
        expect({ active, total, bytesIn }).toEqual({ active: 1, total: 2, bytesIn: 6 })
        expect((await engine.services()).find(s => s.id === service.id)?.target).toEqual({
          address: '127.0.0.3',
        })
      })

      it('that come up later get the first datagram sent then', async () => {
        const at = port()
        const service = await open({ address: LOCAL }, at)
        const peer = await client(LOCAL, service.port)
        for (const text of ['a', 'b', 'c']) await peer.send(text)
        await vi.waitFor(async () => expect((await counters(service.id)).total).toBe(1))
        const server = await echo(LOCAL, at)
        await peer.send('up')
        // One of the earlier ones may have been on its way still.
        await vi.waitUntil(async () => String((await peer.receive()).data) === 'up')
        await server.close()
        cleanups.pop()
        await peer.send('down again')
        await echo(LOCAL, at)
        await vi.waitFor(async () => expect(String((await peer.ask('again')).data)).toBe('again'))
      })

      it('without a route cost the datagram only', async () => {
        const at = port()
        const server = await echo(LOCAL, at)
        const service = await open({ address: '192.0.2.1' }, at)
        const peer = await client(LOCAL, service.port)
        await peer.send('nowhere')
        await engine.retarget(service.id, { address: LOCAL })
        await vi.waitFor(async () => expect(String((await peer.ask('here')).data)).toBe('here'))
        expect(server.unread.some(a => String(a.data) === 'here')).toBe(true)
      })

      if (abilities.netns) {
        it.each(['127.0.0.1', '::1'])('in another namespace, on its %s', async address => {
          const at = port()
          const { netns, child } = await echoInNamespace(address, at)
          cleanups.push(async () => child.kill())
          const service = await open({ address: '127.0.0.1', alternative: '::1', netns }, at)
          const peer = await client(LOCAL, service.port)
          expect(String((await peer.ask('first')).data)).toBe('first')
          expect(String((await peer.ask('second')).data)).toBe('second')
        })

        it('in a namespace that does not exist cost the datagram only', async () => {
          const at = port()
          const server = await echo(LOCAL, at)
          const service = await open({ address: LOCAL, netns: '/proc/self/ns/absent' }, at)
          const peer = await client(LOCAL, service.port)
          await peer.send('nowhere')
          await engine.retarget(service.id, { address: LOCAL })
          await vi.waitFor(async () => expect(String((await peer.ask('here')).data)).toBe('here'))
          expect(server.unread.length).toBeGreaterThan(0)
        })
      }
    })

    describe('loops', () => {
      it('a service that leads to itself does not spin', async () => {
        const at = port()
        const range = { first: at, last: at }
        const service = await open({ address: LOCAL }, at, { ports: range })
        const peer = await client(LOCAL, at)
        await peer.send('round and round')
        const server = await echo()
        const other = await open({ address: LOCAL }, server.port)
        await (await client(LOCAL, other.port)).ask('still alive')
        expect((await counters(service.id)).total).toBeLessThan(20)
      })

      it('two services that lead to each other do not spin', async () => {
        const [a, b] = [port(), port()]
        const one = await open({ address: LOCAL }, b, { ports: { first: a, last: a } })
        const two = await open({ address: LOCAL }, a, { ports: { first: b, last: b } })
        await (await client(LOCAL, a)).send('to and fro')
        const server = await echo()
        const other = await open({ address: LOCAL }, server.port)
        await (await client(LOCAL, other.port)).ask('still alive')
        for (const { id } of [one, two]) expect((await counters(id)).total).toBeLessThan(20)
      })

      it('a service may lead to another', async () => {
        const server = await echo()
        const inner = await open({ address: LOCAL }, server.port)
        const outer = await open({ address: LOCAL }, inner.port)
        expect(String((await (await client(LOCAL, outer.port)).ask('through both')).data)).toBe(
          'through both',
        )
      })
    })

    describe('opening and closing', () => {
      it('a taken port is named, and nothing of the batch is left', async () => {
        const taken = await backend()
        const free = port()
        const batch = [
          spec({ address: LOCAL }, 9, { ports: { first: free, last: free } }),
          spec({ address: LOCAL }, 9, { ports: { first: taken.port, last: taken.port } }),
        ]
        await expect(engine.open(batch)).rejects.toMatchObject({
          code: 'port-taken',
          message: expect.stringContaining(`${LOCAL}:${taken.port}/udp`),
        })
        await backend(LOCAL, free)
        expect(await engine.services()).toEqual([])
      })

      it('an address of another host is refused', async () => {
        await expect(
          engine.open([spec({ address: LOCAL }, 9, { addresses: ['203.0.113.9'] })]),
        ).rejects.toMatchObject({ code: 'address-unavailable' })
      })

      it('close frees the port, forgets the flows and keeps late answers back', async () => {
        const before = openDescriptors()
        const server = await backend()
        const service = await open({ address: LOCAL }, server.port)
        const peer = await client(LOCAL, service.port)
        await peer.send('hello')
        const { from } = await server.receive()
        await engine.close([service.id, 'no-such-service'])
        expect((await engine.counters()).has(service.id)).toBe(false)
        expect(await engine.services()).toEqual([])
        await server.send('too late', from)
        const next = await backend(LOCAL, service.port)
        await peer.send('to the next holder')
        expect(String((await next.receive()).data)).toBe('to the next holder')
        expect(peer.unread).toEqual([])
        await vi.waitFor(() => expect(openDescriptors()).toBeLessThan(before + 8))
      })
    })
  })
}
