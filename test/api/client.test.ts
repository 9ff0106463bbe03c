import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../src/api/client.ts'
import type { Service, UnpublishRequest } from '../../src/api/views.ts'
import { PortctlError } from '../../src/core/errors.ts'
import { createApiServer, listenOn } from '../../src/daemon/api-server.ts'
import { detail, type FakeService, fakeService, publication, status } from './fake-service.ts'

const silent = pino({ level: 'silent' })
let runDir: string
let cleanup: (() => unknown)[]
beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), 'portctl-api-'))
  cleanup = []
})
afterEach(async () => {
  for (const step of cleanup.reverse()) await step()
  rmSync(runDir, { recursive: true })
})

const serve = async (overrides: Partial<Service> = {}): Promise<FakeService> => {
  const service = fakeService(overrides)
  cleanup.push(await listenOn(createApiServer(service, silent), runDir))
  return service
}

/** A daemon that does as told with each connection. */
const impostor = async (onConnection: (socket: Socket) => unknown): Promise<void> => {
  const server: Server = createServer(onConnection).listen(join(runDir, 'portctl.sock'))
  await once(server, 'listening')
  cleanup.push(() => server.close())
}

describe('the client mirrors the service', () => {
  it.each<[keyof Service, unknown[], unknown]>([
    ['status', [], status],
    ['listPublications', [], [publication]],
    ['publish', [{ specs: ['8080:80'] }], { publications: [publication], notes: ['a note'] }],
    ['unpublish', [{ refs: ['x'] }], { publications: [publication] }],
    ['container', ['a b/c%2f?ü'], detail],
    ['started', ['web', { pid: 7 }], detail],
    ['exited', ['web', { exitCode: 137 }], undefined],
    ['stop', ['web', { timeoutSeconds: 0 }], detail],
    ['remove', ['web', true], undefined],
    ['remove', ['web', false], undefined],
    ['inspect', ['[::1]:8080:80/udp'], { kind: 'publication', ...publication }],
  ])('%s %j', async (method, args, answer) => {
    const service = await serve()
    const client = connect({ runDir }) as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>
    expect(await client[method]?.(...args)).toEqual(answer)
    expect(service.calls).toEqual([[method, ...args]])
  })

  it('throws the error that the service threw', async () => {
    const thrown = PortctlError.of('spec-invalid', { spec: 'x:y', part: 'host port', why: 'not a number' })
    await serve({ publish: () => Promise.reject(thrown) })
    const error = await connect({ runDir })
      .publish({ specs: ['x:y'] })
      .catch((e: unknown) => e)
    expect(error).toBeInstanceOf(PortctlError)
    expect(JSON.stringify(error)).toBe(JSON.stringify(thrown))
    expect((error as PortctlError).exit).toBe(2)
  })
})

describe('the socket', () => {
  it('has never had a wider mode than 0660', async () => {
    const app = createApiServer(fakeService(), silent)
    const modes: number[] = []
    app.server.on('listening', () => {
      const bound = readdirSync(runDir).map(name => join(runDir, name))
      modes.push(...bound.map(path => statSync(path).mode & 0o777))
    })
    const umask = process.umask(0)
    try {
      cleanup.push(await listenOn(app, runDir))
      expect(process.umask()).toBe(0)
    } finally {
      process.umask(umask)
    }
    expect(modes).toEqual([0o660])
  })

  it('has mode 0660, replaces a stale one, and is gone after the end', async () => {
    writeFileSync(join(runDir, 'portctl.sock'), '')
    const stop = await listenOn(createApiServer(fakeService(), silent), runDir)
    expect(statSync(join(runDir, 'portctl.sock')).mode & 0o777).toBe(0o660)
    expect(await connect({ runDir }).status()).toEqual(status)
    await stop()
    expect(() => statSync(join(runDir, 'portctl.sock'))).toThrow('ENOENT')
    await expect(connect({ runDir }).status()).rejects.toMatchObject({ code: 'daemon-unreachable' })
  })
})

describe('a client that stops in the middle of its request', () => {
  const half = async (): Promise<Socket> => {
    const socket = connectSocket(join(runDir, 'portctl.sock'))
    await once(socket, 'connect')
    const headers = ['Host: x', 'Content-Type: application/json', 'Content-Length: 100']
    socket.write(`POST /v1/publications HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n{"specs"`)
    // Its end without an answer may come as a reset.
    socket.on('error', () => undefined)
    return socket
  }

  it('does not keep the daemon from ending', async () => {
    const stop = await listenOn(createApiServer(fakeService(), silent), runDir)
    const socket = await half()
    // Answered after that, so the daemon has the half request, too.
    await connect({ runDir }).status()
    const closed = once(socket.resume(), 'close')
    await stop()
    await closed
  })

  it('is told so, and hung up on', async () => {
    cleanup.push(await listenOn(createApiServer(fakeService(), silent, 200), runDir))
    const answer = await text(await half())
    expect(answer).toMatch(/^HTTP\/1\.1 408 /)
  })
})

describe('failures of the connection', () => {
  it('tells a daemon that is not there, and names its socket', async () => {
    await expect(connect({ runDir }).status()).rejects.toMatchObject({
      code: 'daemon-unreachable',
      message: expect.stringContaining(join(runDir, 'portctl.sock')),
    })
  })

  it.each([
    ['before the answer', ''],
    ['in the middle of its head', 'HTTP/1.1 201 Cre'],
    ['in the middle of its body', 'HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{"publi'],
  ])('says that the outcome of a change is unknown when the daemon dies %s', async (_, answer) => {
    await impostor(socket => {
      socket.once('data', () => socket.end(answer))
    })
    await expect(connect({ runDir }).publish({ specs: ['80'] })).rejects.toMatchObject({
      code: 'daemon-gone',
      message: expect.stringContaining('outcome is unknown'),
      hint: expect.stringContaining('portctl ls'),
    })
  })

  it('reads an answer that comes byte by byte', async () => {
    const body = Buffer.from(JSON.stringify([{ ...publication, name: 'žlutý 🐎' }]))
    const answer = Buffer.concat([
      Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`),
      body,
    ])
    await impostor(async socket => {
      await once(socket, 'data')
      for (const byte of answer) {
        socket.write(Buffer.of(byte))
        await new Promise(resolve => setImmediate(resolve))
      }
      socket.end()
    })
    expect((await connect({ runDir }).listPublications())[0]?.name).toBe('žlutý 🐎')
  })

  it('does not speak of outcomes when the request was only a question', async () => {
    await impostor(socket => {
      socket.once('data', () => socket.destroy())
    })
    const error = await connect({ runDir })
      .status()
      .catch((e: unknown) => e as PortctlError)
    expect(error).toMatchObject({ code: 'daemon-gone', hint: 'repeat the command' })
    expect((error as PortctlError).message).not.toContain('outcome')
  })

  it('keeps the message of an error whose code it does not know', async () => {
    const body = JSON.stringify({ code: 'from-the-future', message: 'the moon is in the way' })
    await impostor(socket => {
      socket.once('data', () =>
        socket.end(`HTTP/1.1 409 Conflict\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
      )
    })
    await expect(connect({ runDir }).status()).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('the moon is in the way'),
    })
  })
})

describe('hold', () => {
  const ids = Array.from({ length: 2_000 }, (_, i) => i.toString(16).padStart(12, '0'))

  it('takes them back in one request when the client lets go, however many', async () => {
    let note: (request: UnpublishRequest) => void
    const taken = new Promise<UnpublishRequest>(resolve => {
      note = resolve
    })
    const { calls } = await serve({
      unpublish: async request => {
        note(request)
        return { publications: [] }
      },
    })
    const hold = await connect({ runDir }).hold(ids)
    expect(calls).toEqual([])
    hold.release()
    expect(await hold.ended).toBe('released')
    expect(await taken).toEqual({ refs: ids, missingOk: true })
    expect(calls).toHaveLength(1)
  })

  it('leaves them to the daemon when that ends, and tells the client', async () => {
    const service = fakeService()
    const stop = await listenOn(createApiServer(service, silent), runDir)
    const hold = await connect({ runDir }).hold(ids)
    await stop()
    expect(await hold.ended).toBe('daemon-gone')
    expect(service.calls).toEqual([])
  })
})
