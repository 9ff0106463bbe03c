/** The channel between control and relay, with an engine that only remembers. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PortctlError } from '../../src/core/errors.ts'
import { connectRelay, type RelayClient } from '../../src/relay/channel-client.ts'
import { type ChannelServer, serveChannel } from '../../src/relay/channel-server.ts'
import { DEFAULT_LIMITS, type Engine, type ServiceSpec } from '../../src/relay/engine.ts'

const HELLO = { version: '1.2.3', pid: 42, engine: 'splice', workers: 2 } as const

const spec = (id: string, last = 80): ServiceSpec => ({
  id,
  protocol: 'tcp',
  addresses: ['0.0.0.0', '::'],
  ports: { first: 80, last },
  target: { address: '172.18.0.2' },
  targetPorts: { first: 80, last },
  limits: DEFAULT_LIMITS,
})

/** Remembers services; `hold` keeps `open` back until what it returns is called. */
const fakeEngine = () => {
  const services = new Map<string, ServiceSpec>()
  let gate = Promise.resolve()
  const engine = {
    name: 'splice',
    hold: (): (() => void) => {
      let release = (): void => undefined
      gate = new Promise(resolve => {
        release = resolve
      })
      return release
    },
    open: vi.fn(async (specs: readonly ServiceSpec[]) => {
      await gate
      for (const service of specs) services.set(service.id, service)
    }),
    close: vi.fn(async (ids: readonly string[]) => {
      for (const id of ids) services.delete(id)
    }),
    retarget: vi.fn(async () => undefined),
    services: async () => [...services.values()],
    counters: async () =>
      new Map([...services.keys()].map(id => [id, { active: 1, total: 2, bytesIn: 3, bytesOut: 2 ** 50 }])),
    shutdown: vi.fn(async () => services.clear()),
  } satisfies Engine & { hold: unknown }
  return engine
}

let directory: string
let path: string
let engine: ReturnType<typeof fakeEngine>
let server: ChannelServer
const onShutdown = vi.fn()
const clients: RelayClient[] = []

const control = async (options?: Parameters<typeof connectRelay>[1]): Promise<RelayClient> => {
  const client = await connectRelay(path, options)
  clients.push(client)
  return client
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'portctl-channel-'))
  path = join(directory, 'relay.sock')
  engine = fakeEngine()
  server = await serveChannel({ path, engine, hello: HELLO, onShutdown })
})
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect()
  server.close()
  rmSync(directory, { recursive: true })
})

describe('calls', () => {
  it('reach the engine and come back as they went', async () => {
    const client = await control()
    expect(client).toMatchObject(HELLO)
    await client.open([spec('a'), spec('b')])
    await client.retarget('a', null)
    expect(engine.retarget).toHaveBeenCalledWith('a', null)
    await client.close(['b'])
    expect(await client.services()).toEqual([spec('a')])
    expect(await client.counters()).toEqual(
      new Map([['a', { active: 1, total: 2, bytesIn: 3, bytesOut: 2 ** 50 }]]),
    )
  })

  it('carry big batches, in one step', async () => {
    const client = await control()
    const batch = Array.from({ length: 5_000 }, (_, i) => spec(`${i}-${'é'.repeat(20)}`))
    await client.open(batch)
    expect(engine.open).toHaveBeenCalledExactlyOnceWith(batch)
    expect(await client.services()).toEqual(batch)
  })

  it('make a range of 40,000 ports one small message', () => {
    expect(JSON.stringify({ id: 1, call: 'open', params: [[spec('a', 40_079)]] }).length).toBeLessThan(500)
  })

  it('fail with the very error of the engine', async () => {
    const client = await control()
    const error = PortctlError.of('port-taken', { address: '::', port: 80, protocol: 'tcp' })
    engine.open.mockRejectedValueOnce(error)
    const rebuilt = await client.open([spec('a')]).catch((thrown: unknown) => thrown)
    expect(rebuilt).toBeInstanceOf(PortctlError)
    expect((rebuilt as PortctlError).toJSON()).toEqual(error.toJSON())
    engine.close.mockRejectedValueOnce(new TypeError('a defect'))
    await expect(client.close(['a'])).rejects.toMatchObject({ code: 'internal' })
    expect(await client.services()).toEqual([])
  })

  it('that change something keep their order; counters do not wait', async () => {
    const client = await control()
    const resolve = engine.hold()
    const changes = [client.open([spec('a')]), client.close(['a']), client.open([spec('b')])]
    expect((await client.counters()).size).toBe(0)
    expect(engine.close).not.toHaveBeenCalled()
    resolve()
    await Promise.all(changes)
    expect(await client.services()).toEqual([spec('b')])
  })

  it('that get no answer in time say so', async () => {
    const client = await control({ timeout: 20 })
    engine.hold()
    await expect(client.open([spec('a')])).rejects.toMatchObject({
      code: 'relay-timeout',
      details: { call: 'open' },
    })
  })

  it('to shut down are answered before the relay goes', async () => {
    const client = await control()
    await client.shutdown()
    expect(engine.shutdown).toHaveBeenCalledOnce()
    await vi.waitFor(() => expect(onShutdown).toHaveBeenCalled())
  })
})

describe('connections', () => {
  it('give way to the next control, whose calls come after theirs', async () => {
    const first = await control()
    const resolve = engine.hold()
    const open = first.open([spec('a')])
    const failed = expect(open).rejects.toMatchObject({ code: 'relay-unavailable' })
    await vi.waitFor(() => expect(engine.open).toHaveBeenCalled())
    const second = await control()
    await first.closed
    await failed
    const services = second.services()
    resolve()
    expect(await services).toEqual([spec('a')])
  })

  it('may end at any time: nothing changes', async () => {
    const first = await control()
    await first.open([spec('a')])
    first.disconnect()
    await first.closed
    await expect(first.services()).rejects.toMatchObject({ code: 'relay-unavailable' })
    expect(await (await control()).services()).toEqual([spec('a')])
  })

  it.each([
    ['is no JSON', 'GET / HTTP/1.1\n'],
    ['comes before hello', '{"id":1,"call":"shutdown","params":[]}\n'],
  ])('are dropped for a message that %s, and the current one stays', async (_, text) => {
    const client = await control()
    const stranger = connect(path)
    const closed = new Promise(resolve => stranger.once('close', resolve))
    stranger.on('error', () => undefined)
    stranger.resume().write(text)
    await closed
    expect(engine.shutdown).not.toHaveBeenCalled()
    expect(await client.services()).toEqual([])
  })

  it('answer an unknown call with an error', async () => {
    const socket = connect(path)
    let text = ''
    socket.setEncoding('utf8').on('data', (data: string) => {
      text += data
    })
    socket.write('{"id":1,"call":"hello","params":[]}\n{"id":2,"call":"toString","params":[]}\n')
    await vi.waitFor(() => expect(text.split('\n').length).toBe(3))
    const answers: unknown[] = text
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(answers).toContainEqual(
      expect.objectContaining({ id: 2, error: expect.objectContaining({ code: 'internal' }) }),
    )
    socket.destroy()
  })

  it('are given up on a signal', async () => {
    await expect(control({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
    const silent = createServer(() => undefined)
    const at = join(directory, 'silent.sock')
    await new Promise<void>(resolve => silent.listen(at, resolve))
    const abort = new AbortController()
    const connecting = expect(connectRelay(at, { signal: abort.signal })).rejects.toThrow('enough')
    abort.abort(new Error('enough'))
    await connecting
    silent.close()
  })

  it('need a relay', async () => {
    await expect(connectRelay(join(directory, 'absent.sock'))).rejects.toMatchObject({
      code: 'relay-unavailable',
    })
  })
})

describe('the socket file', () => {
  it('is for its owner alone, from the first moment', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('is not taken from a relay that answers, nor from a file that is no socket', async () => {
    await expect(serveChannel({ path, engine, hello: HELLO, onShutdown })).rejects.toMatchObject({
      code: 'relay-running',
    })
    const file = join(directory, 'file')
    writeFileSync(file, 'precious')
    await expect(serveChannel({ path: file, engine, hello: HELLO, onShutdown })).rejects.toMatchObject({
      code: 'syscall-failed',
    })
    expect(statSync(file).size).toBe(8)
  })
})
