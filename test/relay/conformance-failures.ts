/** What ends a relayed connection against the will of one side, and what it looks like to the other. */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { LOCAL, LOCAL6, type TcpBed } from './tcp-bed.ts'
import type { TcpPeer } from './tcp-peers.ts'

const ip = (...args: string[]) => execFileSync('ip', args)

export const describeFailures = (bed: TcpBed): void => {
  describe('RST', () => {
    it.each(['client', 'backend'] as const)('of the %s reaches the other side', async who => {
      const { client, backend, id } = await bed.pair()
      await client.write('hello')
      expect(await backend.text(5)).toBe('hello')
      const [leaving, staying] = who === 'client' ? [client, backend] : [backend, client]
      leaving.reset()
      expect(await staying.end()).toBe('reset')
      await expect.poll(async () => (await bed.counters(id)).active).toBe(0)
    })

    it('of a client that had sent FIN reaches a backend that goes on writing', async () => {
      const { client, backend } = await bed.pair()
      client.finish()
      expect(await backend.end()).toBe('fin')
      client.reset()
      const failed = new Promise(resolve => backend.socket.once('error', resolve))
      const talk = setInterval(() => backend.socket.write('still there?'), 20)
      bed.cleanup(() => clearInterval(talk))
      expect(await failed).toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) })
    })

    it('comes after the bytes that were sent before it', async () => {
      const { client, backend } = await bed.pair()
      await backend.write('last words')
      expect(await client.text(10)).toBe('last words')
      backend.reset()
      expect(await client.end()).toBe('reset')
    })

    it('in the middle of a bulk frees the connection', async () => {
      const { client, backend, id } = await bed.pair()
      backend.socket.pause()
      client.socket.write(Buffer.alloc(16 << 20))
      await expect.poll(async () => (await bed.counters(id)).bytesIn).toBeGreaterThan(100_000)
      backend.reset()
      expect(await client.end()).toBe('reset')
      await expect.poll(async () => (await bed.counters(id)).active).toBe(0)
    })
  })

  describe('a client is reset when the target', () => {
    it('refuses', async () => {
      const { port } = await bed.open({ address: LOCAL }, bed.ports().first)
      expect(await bed.turnedAway(port)).toBe('reset')
    })

    it('refuses on both its addresses', async () => {
      const target = { address: LOCAL, alternative: LOCAL6 }
      const { port } = await bed.open(target, bed.ports().first)
      expect(await bed.turnedAway(port)).toBe('reset')
    })

    it('cannot be routed to', async () => {
      const { port } = await bed.open({ address: '203.0.113.7' }, 80)
      expect(await bed.turnedAway(port)).toBe('reset')
    })

    it('is reported unreachable', async () => {
      ip('route', 'add', 'unreachable', '203.0.113.8/32')
      bed.cleanup(() => ip('route', 'del', 'unreachable', '203.0.113.8/32'))
      const { port } = await bed.open({ address: '203.0.113.8' }, 80)
      expect(await bed.turnedAway(port)).toBe('reset')
    })

    it('does not answer in time', async () => {
      // What goes to an Ethernet address that nobody has is lost without a word.
      ip('link', 'add', 'hole', 'type', 'veth', 'peer', 'name', 'hole-end')
      bed.cleanup(() => ip('link', 'del', 'hole'))
      ip('link', 'set', 'hole', 'up')
      ip('link', 'set', 'hole-end', 'up')
      ip('address', 'add', '198.51.100.1/24', 'dev', 'hole')
      ip('neigh', 'add', '198.51.100.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'hole')
      const { id, port } = await bed.open({ address: '198.51.100.2' }, 80, {
        limits: { connectTimeout: 300 },
      })
      const started = performance.now()
      const client = await bed.dial(port)
      await client.write('anyone?')
      await expect.poll(async () => (await bed.counters(id)).active).toBe(1)
      expect(await client.end()).toBe('reset')
      expect(performance.now() - started).toBeGreaterThan(290)
      await expect.poll(async () => (await bed.counters(id)).active).toBe(0)
    })

    it('is none', async () => {
      const { port } = await bed.open(null, 80)
      expect(await bed.turnedAway(port)).toBe('reset')
    })
  })

  it('a target that refuses is tried at its alternative address', async () => {
    const server = await bed.echo(LOCAL6)
    const { port } = await bed.open({ address: LOCAL, alternative: LOCAL6 }, server.port)
    const client = await bed.dial(port)
    await client.write('found?')
    expect(await client.text(6)).toBe('found?')
  })

  describe('the idle limit', () => {
    it('closes a connection on which nothing moves', async () => {
      const { client, backend, id } = await bed.pair({ idleTimeout: 200 })
      await client.write('hello')
      expect(await backend.text(5)).toBe('hello')
      await Promise.all([client.end(), backend.end()])
      await expect.poll(async () => (await bed.counters(id)).active).toBe(0)
    })

    it.each(['client', 'backend'] as const)('spares one on which the %s speaks', async who => {
      const { client, backend, id } = await bed.pair({ idleTimeout: 500 })
      const [speaker, listener]: TcpPeer[] = who === 'client' ? [client, backend] : [backend, client]
      const until = performance.now() + 1500
      while (performance.now() < until) {
        await speaker?.write('.')
        await listener?.read(1)
        await new Promise(resolve => setTimeout(resolve, 50))
      }
      expect((await bed.counters(id)).active).toBe(1)
    })
  })
}
