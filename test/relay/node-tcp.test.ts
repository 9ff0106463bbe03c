/** What only the portable engine has to take care of: the backlog it keeps itself, and its agents. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DEFAULT_LIMITS, type Engine, type ServiceSpec } from '../../src/relay/engine.ts'
import { createNodeEngine } from '../../src/relay/node/index.ts'
import { serveInNamespace } from './tcp-peers.ts'
import { enterNamespace } from './udp-peers.ts'

const program = fileURLToPath(new URL('../../dist/relay.cjs', import.meta.url))
const LOCAL = '127.0.0.1'
const PORT = 8080

let engine: Engine
const undo: (() => unknown)[] = []

beforeAll(enterNamespace)
beforeEach(() => {
  engine = createNodeEngine({ program })
})
afterEach(async () => {
  await engine.shutdown()
  for (const step of undo.splice(0).reverse()) await step()
})

const service = (targetPort: number, rest: Partial<ServiceSpec> = {}): ServiceSpec => ({
  id: 'one',
  protocol: 'tcp',
  addresses: [LOCAL],
  ports: { first: PORT, last: PORT },
  target: { address: LOCAL },
  targetPorts: { first: targetPort, last: targetPort },
  limits: DEFAULT_LIMITS,
  ...rest,
})

const backend = async (serve: (socket: Socket) => void): Promise<number> => {
  const server = createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => undefined)
    serve(socket)
  })
  server.listen(0, LOCAL)
  await once(server, 'listening')
  undo.push(() => server.close())
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
const dial = async (port = PORT): Promise<Socket> => {
  const socket = connect({ port, host: LOCAL, allowHalfOpen: true })
  undo.push(() => socket.destroy())
  await once(socket, 'connect')
  socket.on('error', () => undefined)
  return socket
}
const ask = async (socket: Socket, text: string): Promise<string> => {
  socket.write(text)
  const [data] = (await once(socket, 'data')) as [Buffer]
  return String(data)
}
const counters = async () => (await engine.counters()).get('one')

describe('clients beyond the limit', () => {
  it('wait with what they sent, and are served in turn', async () => {
    const order: string[] = []
    const port = await backend(socket => socket.on('data', data => order.push(String(data))))
    await engine.open([service(port, { limits: { ...DEFAULT_LIMITS, maxConnections: 1 } })])
    const clients: Socket[] = []
    for (const text of ['a', 'b', 'c']) {
      const client = await dial()
      client.write(text)
      clients.push(client)
    }
    for (const [i, client] of clients.entries()) {
      await expect.poll(() => order.length).toBe(i + 1)
      expect(await counters()).toMatchObject({ active: 1, total: i + 1 })
      client.resetAndDestroy()
    }
    expect(order).toEqual(['a', 'b', 'c'])
    await expect.poll(async () => (await counters())?.active).toBe(0)
  })

  it('are cut with the service', async () => {
    const port = await backend(() => undefined)
    await engine.open([service(port, { limits: { ...DEFAULT_LIMITS, maxConnections: 1 } })])
    const clients = await Promise.all([dial(), dial(), dial()])
    await expect.poll(async () => (await counters())?.active).toBe(1)
    await engine.close(['one'])
    await expect.poll(() => clients.every(client => client.closed)).toBe(true)
  })
})

describe('a RST that Node does not watch for', () => {
  it('ends a connection whose client had sent FIN', async () => {
    await engine.open([service(await backend(socket => socket.resume()))])
    const client = await dial()
    client.end('x')
    await expect.poll(async () => (await counters())?.bytesIn).toBe(1)
    client.resetAndDestroy()
    await expect.poll(async () => (await counters())?.active, { timeout: 5_000 }).toBe(0)
  })

  it('ends a connection that stands still, because the backend reads nothing', async () => {
    await engine.open([service(await backend(socket => socket.pause()))])
    const client = await dial()
    const full = async (): Promise<boolean> =>
      !client.write(Buffer.alloc(1 << 20)) &&
      (await Promise.race([once(client, 'drain').then(() => false), sleep(500, true)]))
    while (!(await full()));
    client.resetAndDestroy()
    await expect.poll(async () => (await counters())?.active, { timeout: 5_000 }).toBe(0)
  })
})

const elsewhere = async (port: number, name: string): Promise<string> => {
  const { child, netns } = await serveInNamespace(LOCAL, port, name)
  undo.push(() => child.kill('SIGKILL'))
  return netns
}

/** Children of this process that are agents (or nsenter on its way to one). */
const agents = (): readonly number[] =>
  readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .filter(pid => {
      try {
        const ours =
          readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1] === `${process.pid}`
        return ours && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--agent')
      } catch {
        return false
      }
    })
    .map(Number)

describe('agents', () => {
  it('are one a namespace, are not in the path of the data, and end with the engine', async () => {
    const netns = await elsewhere(9001, 'inside')
    await engine.open([service(9001, { target: { address: LOCAL, netns } })])
    expect(agents()).toEqual([])
    const clients = await Promise.all(Array.from({ length: 20 }, () => dial()))
    const answers = await Promise.all(clients.map((client, i) => ask(client, `${i}`)))
    expect(answers).toEqual(clients.map((_, i) => `inside:${i}`))
    const [agent, ...more] = agents()
    expect(more).toEqual([])
    process.kill(agent ?? 0, 'SIGKILL')
    await expect.poll(agents).toEqual([])
    expect(await ask(clients[0] as Socket, 'still')).toBe('inside:still')
    expect(await ask(await dial(), 'again')).toBe('inside:again')
    expect(agents().length).toBe(1)
    await engine.shutdown()
    await expect.poll(agents).toEqual([])
  })

  it('follow a path that comes to mean another namespace', async () => {
    const name = `pct-${process.pid}-${Math.random().toString(36).slice(2, 8)}`
    const path = `/run/netns/${name}`
    undo.push(() => execFileSync('ip', ['netns', 'delete', name]))
    const attach = (netns: string) => execFileSync('ip', ['netns', 'attach', name, netns.split('/')[2] ?? ''])
    attach(await elsewhere(9002, 'first'))
    await engine.open([service(9002, { target: { address: LOCAL, netns: path } })])
    expect(await ask(await dial(), 'x')).toBe('first:x')
    execFileSync('ip', ['netns', 'delete', name])
    attach(await elsewhere(9002, 'second'))
    expect(await ask(await dial(), 'x')).toBe('second:x')
    await expect.poll(() => agents().length).toBe(1)
  })
})
