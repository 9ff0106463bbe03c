/** Opening, changing and closing services; their limits, ports, targets and counters. */
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { identityOf } from '../../src/core/process-identity.ts'
import { LOCAL, LOCAL6, type TcpBed } from './tcp-bed.ts'
import { serveInNamespace } from './tcp-peers.ts'
import { HOST_ADDRESSES } from './udp-peers.ts'

const openDescriptors = (): number => readdirSync('/proc/self/fd').length

/** Whether nothing listens there: whether we can. */
const isFree = (address: string, port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: address, port, ipv6Only: true }, () => server.close(() => resolve(true)))
  })

export const describeServices = (bed: TcpBed): void => {
  const ask = async (port: number, text: string, size: number, address = LOCAL): Promise<string> => {
    const client = await bed.dial(port, address)
    await client.write(text)
    return client.text(size)
  }

  describe('open', () => {
    it('listens on every address and port, and leads each port to its own', async () => {
      const first = bed.ports(3)
      const targets = bed.ports(3)
      const servers = await Promise.all([0, 1, 2].map(i => bed.listen(LOCAL, targets.first + i)))
      await bed.open({ address: LOCAL }, targets, { addresses: [LOCAL, LOCAL6], ports: first })
      for (const address of [LOCAL, LOCAL6])
        for (const [i, server] of servers.entries()) {
          const client = await bed.dial(first.first + i, address)
          const backend = await server.accept()
          await backend.write(`port ${i}`)
          expect(await client.text(6)).toBe(`port ${i}`)
        }
    })

    it('leads every port of a range to a single one', async () => {
      const server = await bed.echo()
      const range = bed.ports(5)
      await bed.open({ address: LOCAL }, server.port, { ports: range })
      for (let port = range.first; port <= range.last; port++) expect(await ask(port, 'x', 1)).toBe('x')
    })

    it('keeps addresses and families apart on one port', async () => {
      const servers = await Promise.all([bed.listen(), bed.listen(), bed.listen()])
      const ports = bed.ports()
      const addresses = [HOST_ADDRESSES.v4[0], HOST_ADDRESSES.v4[1], '::'] as const
      for (const [i, address] of addresses.entries())
        await bed.open({ address: LOCAL }, servers[i]?.port ?? 0, { addresses: [address], ports })
      for (const [i, address] of [addresses[0], addresses[1], LOCAL6].entries()) {
        const client = await bed.dial(ports.first, address)
        await (await servers[i]?.accept())?.write(`${i}`)
        expect(await client.text(1)).toBe(`${i}`)
      }
    })

    it('is all or nothing, and names the port that is taken', async () => {
      const taken = await bed.echo(LOCAL6)
      const descriptors = openDescriptors()
      const before = bed.ports(4)
      const good = bed.spec({ address: LOCAL }, 80, { ports: before })
      const bad = bed.spec({ address: LOCAL }, 80, {
        addresses: [LOCAL, LOCAL6],
        ports: { first: taken.port, last: taken.port },
      })
      await expect(bed.engine.open([good, bad])).rejects.toMatchObject({
        code: 'port-taken',
        message: expect.stringContaining(`[::1]:${taken.port}/tcp`),
      })
      expect(await bed.engine.services()).toEqual([])
      for (let port = before.first; port <= before.last; port++) expect(await isFree(LOCAL, port)).toBe(true)
      expect(await isFree(LOCAL, taken.port)).toBe(true)
      expect(openDescriptors()).toBe(descriptors)
    })

    it('finds conflicts with services that are open', async () => {
      const ports = bed.ports()
      await bed.open(null, 80, { addresses: ['0.0.0.0'], ports })
      await expect(bed.engine.open([bed.spec(null, 80, { ports })])).rejects.toMatchObject({
        code: 'port-taken',
      })
    })

    it('refuses an address that is not ours', async () => {
      const service = bed.spec(null, 80, { addresses: ['192.0.2.1'] })
      await expect(bed.engine.open([service])).rejects.toMatchObject({
        code: 'address-unavailable',
        message: expect.stringContaining('192.0.2.1'),
      })
    })

    it('of many ports that meet one taken leaves none', async () => {
      const range = bed.ports(300)
      const taken = await bed.echo(LOCAL, range.last)
      await expect(bed.engine.open([bed.spec(null, 80, { ports: range })])).rejects.toThrow(
        `${taken.port}/tcp`,
      )
      expect(await isFree(LOCAL, range.first)).toBe(true)
    })
  })

  describe('close', () => {
    it('cuts live connections and frees the port', async () => {
      const { client, backend, id } = await bed.pair()
      await client.write('x')
      await backend.read(1)
      const [service] = await bed.engine.services()
      await bed.engine.close([id])
      await Promise.all([client.end(), backend.end()])
      expect(await isFree(LOCAL, service?.ports.first ?? 0)).toBe(true)
      expect(await bed.engine.services()).toEqual([])
    })

    it('leaves other services alone, and ignores ids it does not know', async () => {
      const server = await bed.echo()
      const gone = await bed.open({ address: LOCAL }, server.port)
      const kept = await bed.open({ address: LOCAL }, server.port)
      const client = await bed.dial(kept.port)
      await bed.engine.close([gone.id, 'unknown'])
      await client.write('still')
      expect(await client.text(5)).toBe('still')
      expect(await ask(kept.port, 'new', 3)).toBe('new')
    })

    it('gives back every descriptor', async () => {
      const server = await bed.echo()
      const descriptors = openDescriptors()
      for (let round = 0; round < 3; round++) {
        const { id, port } = await bed.open({ address: LOCAL }, server.port, { ports: bed.ports(20) })
        const clients = await Promise.all(Array.from({ length: 20 }, () => bed.dial(port)))
        await bed.engine.close([id])
        await Promise.all(clients.map(client => client.end()))
      }
      // Pooled pipes and runtime odds and ends may stay; listeners and connections may not.
      await expect.poll(openDescriptors).toBeLessThan(descriptors + 15)
    })
  })

  describe('retarget', () => {
    it('moves new connections, not live ones, and keeps the counters', async () => {
      const here = await bed.listen()
      const there = await bed.listen(LOCAL6, here.port)
      const { id, port } = await bed.open({ address: LOCAL }, here.port)
      const client = await bed.dial(port)
      const backend = await here.accept()
      await bed.engine.retarget(id, null)
      expect(await bed.turnedAway(port)).toBe('reset')
      await client.write('live')
      expect(await backend.text(4)).toBe('live')
      await bed.engine.retarget(id, { address: LOCAL6 })
      const again = await bed.dial(port)
      await (await there.accept()).write('moved')
      expect(await again.text(5)).toBe('moved')
      expect((await bed.engine.services())[0]?.target).toEqual({ address: LOCAL6 })
      // Counted after the bytes are on their way.
      await expect.poll(() => bed.counters(id)).toMatchObject({ active: 2, bytesIn: 4, bytesOut: 5 })
    })
  })

  it('counters count connections and bytes each way, while traffic runs', async () => {
    const { client, backend, id } = await bed.pair()
    expect(await bed.counters(id)).toEqual({ active: 1, total: 1, bytesIn: 0, bytesOut: 0 })
    await client.write('12345')
    await backend.read(5)
    await backend.write(Buffer.alloc(100_000))
    await client.read(100_000)
    await expect.poll(() => bed.counters(id)).toEqual({ active: 1, total: 1, bytesIn: 5, bytesOut: 100_000 })
    client.finish()
    backend.finish()
    await expect.poll(() => bed.counters(id)).toMatchObject({ active: 0, total: 1 })
  })

  it('connections beyond the limit wait, and are served in turn', async () => {
    const server = await bed.listen()
    const { id, port } = await bed.open({ address: LOCAL }, server.port, { limits: { maxConnections: 2 } })
    const clients = [await bed.dial(port), await bed.dial(port), await bed.dial(port)]
    for (const [i, client] of clients.entries()) await client.write(`${i}`)
    const served = [await server.accept(), await server.accept()]
    expect(await bed.counters(id)).toMatchObject({ active: 2, total: 2 })
    clients[0]?.reset()
    const third = await server.accept()
    expect(await third.text(1)).toBe('2')
    expect(await served[1]?.text(1)).toBe('1')
    expect(await bed.counters(id)).toMatchObject({ active: 2, total: 3 })
  })

  describe('a target in another namespace', () => {
    const inside = async (address: string, port: number, name: string) => {
      const { netns, child } = await serveInNamespace(address, port, name)
      bed.cleanup(() => child.kill('SIGKILL'))
      return netns
    }

    it('that has no interface but lo is reached', async () => {
      const netns = await inside(LOCAL, 9001, 'inside')
      const { port } = await bed.open({ address: LOCAL, netns }, 9001)
      expect(await ask(port, 'hello', 12)).toBe('inside:hello')
    })

    it('on ::1 is reached as the alternative', async () => {
      const netns = await inside(LOCAL6, 9001, 'six')
      const { port } = await bed.open({ address: LOCAL, alternative: LOCAL6, netns }, 9001)
      expect(await ask(port, 'hello', 9)).toBe('six:hello')
    })

    it('and one here are not mixed up', async () => {
      const netns = await inside(LOCAL, 9001, 'inside')
      const here = await bed.echo(LOCAL, 9001)
      const outer = await bed.open({ address: LOCAL }, here.port)
      const inner = await bed.open({ address: LOCAL, netns }, 9001)
      for (let round = 0; round < 5; round++) {
        expect(await ask(outer.port, 'x', 1)).toBe('x')
        expect(await ask(inner.port, 'x', 8)).toBe('inside:x')
      }
    })

    it('is not taken from another process with the same pid', async () => {
      const { netns, child } = await serveInNamespace(LOCAL, 9003, 'inside')
      bed.cleanup(() => child.kill('SIGKILL'))
      const pid = child.pid as number
      const identity = identityOf(pid) as string
      const { id, port } = await bed.open({ address: LOCAL, netns, process: { pid, identity } }, 9003)
      expect(await ask(port, 'x', 8)).toBe('inside:x')
      await bed.engine.retarget(id, { address: LOCAL, netns, process: { pid, identity: `${identity}0` } })
      expect(await bed.turnedAway(port)).toBe('reset')
    })

    it('is not this one when a process of ours has the pid', async () => {
      const here = await bed.echo()
      const netns = `/proc/${process.pid}/ns/net`
      const former = { pid: process.pid, identity: 'another' }
      const { id, port } = await bed.open({ address: LOCAL, netns, process: former }, here.port)
      expect(await bed.turnedAway(port)).toBe('reset')
      const identity = identityOf(process.pid) as string
      await bed.engine.retarget(id, { address: LOCAL, netns, process: { pid: process.pid, identity } })
      expect(await ask(port, 'x', 1)).toBe('x')
    })

    it('that is replaced under the same path is followed', async () => {
      const name = `pct-${process.pid}-${Math.random().toString(36).slice(2, 8)}`
      const attach = (netns: string) =>
        execFileSync('ip', ['netns', 'attach', name, netns.split('/')[2] ?? ''])
      const detach = () => execFileSync('ip', ['netns', 'delete', name])
      attach(await inside(LOCAL, 9002, 'first'))
      bed.cleanup(detach)
      const { port } = await bed.open({ address: LOCAL, netns: `/run/netns/${name}` }, 9002)
      expect(await ask(port, 'x', 7)).toBe('first:x')
      detach()
      attach(await inside(LOCAL, 9002, 'second'))
      expect(await ask(port, 'x', 8)).toBe('second:x')
    })

    it('that is gone resets the client', async () => {
      const { port } = await bed.open({ address: LOCAL, netns: '/run/netns/pct-no-such-namespace' }, 80)
      expect(await bed.turnedAway(port)).toBe('reset')
    })
  })
}
