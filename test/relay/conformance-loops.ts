/** Services that lead to services: some in a row are fine, a circle ends. */
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { LOCAL, LOCAL6, type TcpBed } from './tcp-bed.ts'
import { HOST_ADDRESSES } from './udp-peers.ts'

/** Enough to show that a circle did not end by itself. */
const limits = { maxConnections: 200 }
const OWN = '/proc/self/ns/net'

/** A client that resets as soon as it is connected, if it is not reset before. */
const comeAndGo = (port: number): Promise<void> =>
  new Promise(resolve => {
    const socket = connect(port, LOCAL, () => socket.resetAndDestroy())
    socket.on('error', () => undefined).once('close', () => resolve())
  })

export const describeLoops = (bed: TcpBed): void => {
  /** Connections that were accepted for one client. */
  const accepted = async (): Promise<number> =>
    [...(await bed.engine.counters()).values()].reduce((sum, { total }) => sum + total, 0)
  const active = async (): Promise<number> =>
    [...(await bed.engine.counters()).values()].reduce((sum, service) => sum + service.active, 0)

  describe('services in a row', () => {
    const chain = async (services: number): Promise<number> => {
      let { port } = await bed.echo()
      for (let i = 0; i < services; i++) ({ port } = await bed.open({ address: LOCAL }, port))
      return port
    }

    it('are passed, up to eight', async () => {
      const port = await chain(8)
      for (let round = 0; round < 20; round++) {
        const client = await bed.dial(port)
        await client.write('through')
        expect(await client.text(7)).toBe('through')
        client.reset()
      }
    })

    it('are too many beyond', async () => {
      expect(await bed.turnedAway(await chain(10))).toBe('reset')
    })
  })

  describe('a circle', () => {
    it.each([
      ['of two', { address: LOCAL }, LOCAL],
      ['of two, over IPv6', { address: LOCAL6 }, LOCAL6],
      ['of two, over an address of this host', { address: HOST_ADDRESSES.v4[0] }, HOST_ADDRESSES.v4[0]],
      ['of two, through our own namespace', { address: LOCAL, alternative: LOCAL6, netns: OWN }, LOCAL],
    ])('%s ends, and its clients are reset', async (_, target, address) => {
      const { first, last } = bed.ports(2)
      await bed.open(target, last, { addresses: [address], ports: { first, last: first }, limits })
      await bed.open(target, first, { addresses: [address], ports: { first: last, last }, limits })
      expect(await bed.turnedAway(first, address)).toBe('reset')
      expect(await accepted()).toBeLessThanOrEqual(10)
      await expect.poll(active).toBe(0)
    })

    it('of one ends', async () => {
      const { first } = bed.ports()
      await bed.open({ address: LOCAL, netns: OWN }, first, { ports: { first, last: first }, limits })
      expect(await bed.turnedAway(first)).toBe('reset')
      expect(await accepted()).toBeLessThanOrEqual(10)
    })

    it('ends also for clients that are gone before they are served', async () => {
      const { first, last } = bed.ports(2)
      await bed.open({ address: LOCAL }, last, { ports: { first, last: first }, limits })
      await bed.open({ address: LOCAL }, first, { ports: { first: last, last }, limits })
      for (let i = 0; i < 50; i++) await comeAndGo(first)
      let before = -1
      const calm = async (): Promise<boolean> => {
        const last = before
        before = await accepted()
        return before === last
      }
      await expect.poll(calm, { interval: 50 }).toBe(true)
      expect(before).toBeLessThanOrEqual(500)
      expect(await active()).toBe(0)
    })
  })
}
