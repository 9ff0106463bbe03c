/** What every engine owes for UDP, said once: where flows lead to, and the life of a service. */
import { describe, expect, it, vi } from 'vitest'
import { LOCAL, openDescriptors, readDatagrams, type UdpAbilities, type UdpBed } from './udp-bed.ts'
import { echoInNamespace } from './udp-peers.ts'

export const describeUdpTargets = (bed: UdpBed, abilities: UdpAbilities): void => {
  const { cleanups, port, client, backend, echo, spec, open, counters } = bed

  describe('targets', () => {
    it('null drops, until there is one', async () => {
      const server = await echo()
      const service = await open(null, server.port)
      const peer = await client(LOCAL, service.port)
      const before = readDatagrams()
      await peer.send('lost')
      await vi.waitUntil(() => readDatagrams() === before + 1)
      expect(await counters(service.id)).toMatchObject({ total: 0, bytesIn: 0 })
      await bed.engine.retarget(service.id, { address: LOCAL })
      expect(String((await peer.ask('found')).data)).toBe('found')
      expect(server.unread.map(a => String(a.data))).toEqual(['found'])
    })

    it('change at once for clients that keep sending', async () => {
      const at = port()
      const [one, two] = [await echo('127.0.0.2', at), await echo('127.0.0.3', at)]
      const service = await open({ address: '127.0.0.2' }, at)
      const peer = await client(LOCAL, service.port)
      await peer.ask('one')
      await bed.engine.retarget(service.id, { address: '127.0.0.3' })
      expect((await counters(service.id)).active).toBe(0)
      await peer.ask('two')
      expect([one, two].map(s => s.unread.map(a => String(a.data)))).toEqual([['one'], ['two']])
      const { active, total, bytesIn } = await counters(service.id)
      expect({ active, total, bytesIn }).toEqual({ active: 1, total: 2, bytesIn: 6 })
      expect((await bed.engine.services()).find(s => s.id === service.id)?.target).toEqual({
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
      await bed.engine.retarget(service.id, { address: LOCAL })
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
        await bed.engine.retarget(service.id, { address: LOCAL })
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

    it('nor one that leads to itself by the second address of its target', async () => {
      const at = port()
      const range = { first: at, last: at }
      const target = { address: LOCAL, alternative: '::1' }
      const service = await open(target, at, { addresses: ['::1'], ports: range })
      await (await client('::1', at)).send('round and round')
      const server = await echo()
      const other = await open({ address: LOCAL }, server.port)
      const asking = await client(LOCAL, other.port)
      for (let i = 0; i < 200; i++) await asking.ask('still alive')
      expect((await counters(service.id)).total).toBeLessThan(20)
    })

    it('two services that lead to each other do not spin', async () => {
      const [a, b] = [port(), port()]
      const one = await open({ address: LOCAL }, b, { ports: { first: a, last: a } })
      const two = await open({ address: LOCAL }, a, { ports: { first: b, last: b } })
      await (await client(LOCAL, a)).send('to and fro')
      const server = await echo()
      const other = await open({ address: LOCAL }, server.port)
      const asking = await client(LOCAL, other.port)
      // Time enough for a datagram that circles to be seen.
      for (let i = 0; i < 200; i++) await asking.ask('still alive')
      for (const { id } of [one, two]) expect((await counters(id)).total).toBeLessThan(20)
    })

    it('a service may lead to another', async () => {
      const server = await echo()
      const inner = await open({ address: LOCAL }, server.port)
      const outer = await open({ address: LOCAL }, inner.port)
      expect(String((await (await client(LOCAL, outer.port)).ask('through both')).data)).toBe('through both')
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
      await expect(bed.engine.open(batch)).rejects.toMatchObject({
        code: 'port-taken',
        message: expect.stringContaining(`${LOCAL}:${taken.port}/udp`),
      })
      await backend(LOCAL, free)
      expect(await bed.engine.services()).toEqual([])
    })

    it('an address of another host is refused', async () => {
      await expect(
        bed.engine.open([spec({ address: LOCAL }, 9, { addresses: ['203.0.113.9'] })]),
      ).rejects.toMatchObject({ code: 'address-unavailable' })
    })

    it('close frees the port, forgets the flows and keeps late answers back', async () => {
      const before = openDescriptors()
      const server = await backend()
      const service = await open({ address: LOCAL }, server.port)
      const peer = await client(LOCAL, service.port)
      await peer.send('hello')
      const { from } = await server.receive()
      await bed.engine.close([service.id, 'no-such-service'])
      expect((await bed.engine.counters()).has(service.id)).toBe(false)
      expect(await bed.engine.services()).toEqual([])
      await server.send('too late', from)
      const next = await backend(LOCAL, service.port)
      await peer.send('to the next holder')
      expect(String((await next.receive()).data)).toBe('to the next holder')
      expect(peer.unread).toEqual([])
      await vi.waitFor(() => expect(openDescriptors()).toBeLessThan(before + 8))
    })
  })
}
