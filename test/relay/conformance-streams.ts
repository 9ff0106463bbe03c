/** Bytes and ends through a relayed connection. */
import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LOCAL, LOCAL6, type TcpBed } from './tcp-bed.ts'
import type { TcpPeer } from './tcp-peers.ts'

const MiB = 1 << 20
const digest = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

/** One direction of a scripted conversation: chunks to write, then FIN, at once or after the other side's. */
interface Script {
  readonly chunks: readonly Uint8Array[]
  readonly waits: boolean
}

const chunk = fc.oneof(
  { weight: 4, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 300 }) },
  // Sizes around the relay's copy buffer and a pipe's page.
  fc
    .constantFrom(4096, 16_383, 16_384, 16_385, 32_768, 65_536, 200_000)
    .chain(size => fc.integer({ min: 0, max: 255 }).map(seed => Buffer.alloc(size, seed))),
)
const script: fc.Arbitrary<Script> = fc.record({
  chunks: fc.array(chunk, { maxLength: 12 }),
  waits: fc.boolean(),
})

const play = async (peer: TcpPeer, { chunks, waits }: Script, mayWait: boolean): Promise<Buffer> => {
  for (const data of chunks) await peer.write(data)
  if (waits && mayWait) {
    const heard = await peer.rest()
    peer.finish()
    return heard
  }
  peer.finish()
  return peer.rest()
}

export const describeStreams = (bed: TcpBed): void => {
  describe('bytes', () => {
    it.each([
      [LOCAL, LOCAL],
      [LOCAL6, LOCAL6],
      [LOCAL6, LOCAL],
      [LOCAL, LOCAL6],
    ])('go both ways from a client of %s to a target at %s', async (listening, address) => {
      const server = await bed.echo(address)
      const { port } = await bed.open({ address }, server.port, { addresses: [listening] })
      const client = await bed.dial(port, listening)
      for (const text of ['one', 'two', 'three']) {
        await client.write(text)
        expect(await client.text(text.length)).toBe(text)
      }
    })

    it('come through when the server speaks first', async () => {
      const { client, backend } = await bed.pair()
      await backend.write('220 ready\r\n')
      expect(await client.text(11)).toBe('220 ready\r\n')
    })

    it('are exactly those sent, however they are cut up and whoever ends first', async () => {
      const server = await bed.listen()
      const { port } = await bed.open({ address: LOCAL }, server.port)
      await fc.assert(
        fc.asyncProperty(script, script, async (up, down) => {
          const client = await bed.dial(port)
          const backend = await server.accept()
          // One side at least must not wait for the other's end.
          const [heardBack, heard] = await Promise.all([
            play(client, up, true),
            play(backend, down, !up.waits),
          ])
          expect(digest(heard)).toBe(digest(Buffer.concat(up.chunks)))
          expect(digest(heardBack)).toBe(digest(Buffer.concat(down.chunks)))
        }),
        { numRuns: 60 },
      )
    })

    it('arrive whole in a big transfer each way at once', async () => {
      const { client, backend } = await bed.pair()
      const [up, down] = [randomBytes(24 * MiB), randomBytes(24 * MiB)]
      const sent = [client.write(up), backend.write(down)]
      client.finish()
      backend.finish()
      const [heard, heardBack] = await Promise.all([backend.rest(), client.rest()])
      await Promise.all(sent)
      expect(digest(heard)).toBe(digest(up))
      expect(digest(heardBack)).toBe(digest(down))
    })

    it('go on as small messages after a bulk, and the reverse', async () => {
      const server = await bed.echo()
      const { port } = await bed.open({ address: LOCAL }, server.port)
      const client = await bed.dial(port)
      for (const size of [10, 2 * MiB, 7, 16_384, 16_385, 1, 300_000, 3]) {
        const data = randomBytes(size)
        void client.write(data)
        expect(digest(await client.read(size))).toBe(digest(data))
      }
    })

    it('of many connections stay apart', async () => {
      const server = await bed.echo()
      const { id, port } = await bed.open({ address: LOCAL }, server.port)
      const clients = await Promise.all(Array.from({ length: 400 }, () => bed.dial(port)))
      await Promise.all(
        clients.map(async (client, i) => {
          const text = `client ${i}`
          await client.write(text)
          expect(await client.text(text.length)).toBe(text)
        }),
      )
      expect(await bed.counters(id)).toMatchObject({ active: 400, total: 400 })
    })
  })

  describe('a slow reader', () => {
    it.each(['client', 'backend'] as const)('(%s) holds the writer back, and loses nothing', async slow => {
      const { client, backend, id } = await bed.pair()
      const [writer, reader] = slow === 'client' ? [backend, client] : [client, backend]
      reader.socket.pause()
      const data = randomBytes(64 * MiB)
      const before = process.memoryUsage().rss
      const written = writer.write(data)
      const passed = async (): Promise<number> => {
        const { bytesIn, bytesOut } = await bed.counters(id)
        return bytesIn + bytesOut
      }
      await expect.poll(passed, { interval: 200 }).toSatisfy(stillness())
      // What has passed lies in the reader's socket buffers (tcp_rmem, tcp_wmem), and is a part of the whole.
      expect(await passed()).toBeLessThan(32 * MiB)
      expect(process.memoryUsage().rss - before).toBeLessThan(32 * MiB)
      reader.socket.resume()
      writer.finish()
      expect(digest(await reader.rest())).toBe(digest(data))
      await written
    })
  })

  describe('FIN', () => {
    it('of the client passes alone: the answer still arrives', async () => {
      const { client, backend } = await bed.pair()
      await client.write('question')
      client.finish()
      expect(String(await backend.rest())).toBe('question')
      await backend.write('answer')
      backend.finish()
      expect(String(await client.rest())).toBe('answer')
    })

    it('of the backend passes alone: the client can still speak', async () => {
      const { client, backend } = await bed.pair()
      await backend.write('that is all')
      backend.finish()
      expect(String(await client.rest())).toBe('that is all')
      await client.write('thanks')
      client.finish()
      expect(String(await backend.rest())).toBe('thanks')
    })

    it('follows the last byte of a bulk that the reader takes late', async () => {
      const { client, backend } = await bed.pair()
      backend.socket.pause()
      const data = randomBytes(3 * MiB)
      void client.write(data)
      client.finish()
      await backend.write('early')
      expect(await client.text(5)).toBe('early')
      backend.socket.resume()
      expect(digest(await backend.rest())).toBe(digest(data))
    })

    it('both ways ends the connection and its count', async () => {
      const { client, backend, id } = await bed.pair()
      client.finish()
      backend.finish()
      expect(await Promise.all([client.end(), backend.end()])).toEqual(['fin', 'fin'])
      await expect.poll(async () => (await bed.counters(id)).active).toBe(0)
    })

    it('before the backend is even connected is kept', async () => {
      const server = await bed.echo()
      const { port } = await bed.open({ address: LOCAL }, server.port)
      const clients = await Promise.all(Array.from({ length: 50 }, () => bed.dial(port)))
      for (const client of clients) client.socket.end('short')
      for (const client of clients) expect(String(await client.rest())).toBe('short')
    })
  })
}

/** True for a number above zero that has not changed since the last look. */
const stillness = (): ((value: number) => boolean) => {
  let last = -1
  return value => {
    const still = value > 0 && value === last
    last = value
    return still
  }
}
