/** The relay as a process: how it starts, what it survives, what it may do, how it ends. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { connectRelay, type RelayClient, relaySocket, spawnRelay } from '../../src/relay/client.ts'
import { DEFAULT_LIMITS, type Engine, type RelayTarget, type ServiceSpec } from '../../src/relay/engine.ts'
import { serveInNamespace } from './tcp-peers.ts'
import { enterNamespace } from './udp-peers.ts'

const distDir = fileURLToPath(new URL('../../dist', import.meta.url))
const LOCAL = '127.0.0.1'

let runDir: string
const relays: RelayClient[] = []
const undo: (() => unknown)[] = []

beforeAll(enterNamespace)
beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), 'portctl-relay-'))
})
afterEach(async () => {
  for (const relay of relays.splice(0)) {
    relay.disconnect()
    kill(relay.pid, 'SIGKILL')
  }
  for (const step of undo.splice(0).reverse()) await step()
  rmSync(runDir, { recursive: true })
})

const kill = (pid: number, signal: NodeJS.Signals): void => {
  if (existsSync(`/proc/${pid}`)) process.kill(pid, signal)
}
const gone = async (pid: number): Promise<void> => expect.poll(() => isAlive(pid)).toBe(false)
/** A zombie is not alive: the relay's parent may be slow to reap it. */
const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

const log = (): string => readFileSync(join(runDir, 'log'), 'utf8')
const start = async (options: Partial<Parameters<typeof spawnRelay>[0]> = {}): Promise<RelayClient> => {
  const logFd = openSync(join(runDir, 'log'), 'a')
  const relay = await spawnRelay({ runDir, distDir, logFd, workers: 1, ...options })
  relays.push(relay)
  return relay
}
const adopt = async (): Promise<RelayClient> => {
  const relay = await connectRelay(relaySocket(runDir))
  relays.push(relay)
  return relay
}

const listening = async (server: Server, port = 0): Promise<number> => {
  server.listen(port, LOCAL)
  await once(server, 'listening')
  undo.push(() => server.close())
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
const echo = (): Promise<number> =>
  listening(createServer(socket => socket.on('error', () => undefined).pipe(socket)))
const freePort = async (): Promise<number> => {
  const server = createServer()
  const port = await listening(server)
  server.close()
  return port
}
const spec = (
  ports: number | readonly [number, number],
  target: RelayTarget | null,
  targetPort: number,
): ServiceSpec => {
  const [first, last] = typeof ports === 'number' ? [ports, ports] : ports
  return {
    id: `service-${first}`,
    protocol: 'tcp',
    addresses: [LOCAL],
    ports: { first, last },
    target,
    targetPorts: { first: targetPort, last: targetPort },
    limits: DEFAULT_LIMITS,
  }
}
const dial = async (port: number): Promise<Socket> => {
  const socket = connect(port, LOCAL)
  undo.push(() => socket.destroy())
  await once(socket, 'connect')
  // A reset is seen by 'close'.
  socket.on('error', () => undefined)
  return socket
}
const ask = async (socket: Socket, text: string): Promise<string> => {
  socket.write(text)
  const [data] = (await once(socket, 'data')) as [Buffer]
  return String(data)
}

const engines: readonly Engine['name'][] = ['splice', 'node']

describe.each(engines)('a relay with the %s engine', engine => {
  it('says who it is, in a session of its own, on a socket for its owner alone', async () => {
    const relay = await start({ engine })
    expect(relay).toMatchObject({ engine, name: engine, workers: engine === 'splice' ? 1 : 0 })
    expect(relay.version).toMatch(/^\d+\.\d+\.\d+$/)
    expect(relay.fallback).toBeUndefined()
    expect(
      execFileSync('ps', ['-o', 'sid=', '-p', `${relay.pid}`])
        .toString()
        .trim(),
    ).toBe(`${relay.pid}`)
    expect(statSync(relaySocket(runDir)).mode & 0o777).toBe(0o600)
  })

  it('goes on without control, and shows the next one what it serves', async () => {
    const relay = await start({ engine })
    const service = spec(await freePort(), { address: LOCAL }, await echo())
    await relay.open([service])
    const client = await dial(service.ports.first)
    expect(await ask(client, 'before')).toBe('before')
    relay.disconnect()
    await relay.closed
    expect(await ask(client, 'between')).toBe('between')
    const next = await adopt()
    expect(next.pid).toBe(relay.pid)
    expect(await next.services()).toEqual([service])
    await expect
      .poll(async () => (await next.counters()).get(service.id))
      .toEqual({ active: 1, total: 1, bytesIn: 13, bytesOut: 13 })
    expect(await ask(client, 'after')).toBe('after')
  })

  it('reaches into a namespace, by the path of its process, with the privileges it keeps', async () => {
    const at = await freePort()
    const { child, netns } = await serveInNamespace(LOCAL, at, 'inside')
    undo.push(() => child.kill('SIGKILL'))
    const relay = await start({ engine })
    const service = spec(await freePort(), { address: LOCAL, netns }, at)
    await relay.open([service])
    expect(await ask(await dial(service.ports.first), 'hello')).toBe('inside:hello')
  })

  it('keeps no other capability than it uses, and may open more than 1,024 descriptors and low ports', async () => {
    const relay = await start({ engine })
    const status = readFileSync(`/proc/${relay.pid}/status`, 'utf8')
    // 10 CAP_NET_BIND_SERVICE, 19 CAP_SYS_PTRACE, 21 CAP_SYS_ADMIN
    const kept = ((1n << 10n) | (1n << 19n) | (1n << 21n)).toString(16).padStart(16, '0')
    for (const set of ['CapPrm', 'CapEff', 'CapBnd']) expect(status).toContain(`${set}:\t${kept}`)
    expect(status).toContain('NoNewPrivs:\t1')
    const many = spec([20_000, 21_499], null, 1)
    const low = spec(797, null, 1)
    await relay.open([many, low])
    await relay.close([many.id, low.id])
    expect(await relay.services()).toEqual([])
  })

  it('cuts what it carries when it is told to shut down, and leaves no socket file', async () => {
    const relay = await start({ engine })
    const service = spec(await freePort(), { address: LOCAL }, await echo())
    await relay.open([service])
    const client = await dial(service.ports.first)
    await ask(client, 'x')
    await relay.shutdown()
    await expect.poll(() => client.closed).toBe(true)
    await relay.closed
    await gone(relay.pid)
    expect(existsSync(relaySocket(runDir))).toBe(false)
  })

  it('ends on SIGTERM with everything it holds, and on no signal of a terminal', async () => {
    const relay = await start({ engine })
    const service = spec(await freePort(), null, 1)
    await relay.open([service])
    kill(relay.pid, 'SIGINT')
    kill(relay.pid, 'SIGHUP')
    expect((await relay.services()).length).toBe(1)
    kill(relay.pid, 'SIGTERM')
    await relay.closed
    await gone(relay.pid)
    await expect(dial(service.ports.first)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await expect(relay.services()).rejects.toMatchObject({ code: 'relay-unavailable' })
  })
})

describe('starting', () => {
  it('replaces the socket file of a relay that was killed', async () => {
    const first = await start({ engine: 'node' })
    kill(first.pid, 'SIGKILL')
    await first.closed
    expect(existsSync(relaySocket(runDir))).toBe(true)
    const second = await start({ engine: 'node' })
    expect(second.pid).not.toBe(first.pid)
  })

  it('leaves a relay alone that serves there already', async () => {
    const first = await start({ engine: 'node' })
    await expect(start({ engine: 'node' })).rejects.toMatchObject({ code: 'relay-running' })
    expect(await first.services()).toEqual([])
  })

  it('says why it cannot', async () => {
    rmSync(runDir, { recursive: true })
    const logFd = openSync('/dev/null', 'w')
    await expect(spawnRelay({ runDir, distDir, logFd })).rejects.toMatchObject({
      code: 'syscall-failed',
      message: expect.stringContaining(relaySocket(runDir)),
    })
    await expect(spawnRelay({ runDir, distDir: '/nowhere', logFd })).rejects.toMatchObject({
      code: 'relay-start-failed',
    })
    runDir = mkdtempSync(join(tmpdir(), 'portctl-relay-'))
  })

  it('stops waiting when it is told to', async () => {
    await expect(start({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
    await expect(start({ signal: AbortSignal.timeout(1) })).rejects.toMatchObject({ name: 'TimeoutError' })
  })

  it('takes the portable engine, and says so, when koffi cannot be loaded', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'portctl-dist-'))
    undo.push(() => rmSync(elsewhere, { recursive: true }))
    copyFileSync(join(distDir, 'relay.cjs'), join(elsewhere, 'relay.cjs'))
    const relay = await start({ distDir: elsewhere })
    expect(relay.engine).toBe('node')
    expect(relay.fallback).toContain('koffi')
    expect(log()).toContain('the splice engine cannot run')
  })
})

describe('failing', () => {
  it('ends when a data-path thread crashes', async () => {
    const broken = mkdtempSync(join(distDir, 'test-'))
    undo.push(() => rmSync(broken, { recursive: true }))
    copyFileSync(join(distDir, 'relay.cjs'), join(broken, 'relay.cjs'))
    writeFileSync(
      join(broken, 'relay-worker.cjs'),
      `setTimeout(() => { throw new Error('thread defect') }, 300)`,
    )
    const relay = await start({ distDir: broken })
    await relay.closed
    await gone(relay.pid)
    expect(log()).toContain('thread defect')
  })

  it('keeps descriptors back for control, and refuses by name what does not fit', async () => {
    const path = relaySocket(runDir)
    const command = `ulimit -n 256; exec "$0" "$@"`
    const args = [process.execPath, join(distDir, 'relay.cjs'), `--socket=${path}`, '--engine=node']
    const child = spawn('sh', ['-c', command, ...args], { stdio: 'ignore' })
    undo.push(() => child.kill('SIGKILL'))
    const relay = await vi.waitFor(adopt)
    await expect(relay.open([spec([22_500, 22_999], null, 1)])).rejects.toMatchObject({
      code: 'fd-limit',
      details: { needed: 500, limit: 256 },
    })
    const service = spec([22_500, 22_599], { address: LOCAL }, await echo())
    await relay.open([service])
    // More clients than there are descriptors left: some are turned away, the rest are served, control gets in.
    const clients = Array.from({ length: 200 }, () => connect(22_500, LOCAL))
    for (const client of clients) client.on('error', () => undefined)
    undo.push(() => clients.forEach(client => void client.destroy()))
    await expect.poll(() => clients.some(client => client.destroyed)).toBe(true)
    expect((await adopt()).pid).toBe(child.pid)
  })
})
