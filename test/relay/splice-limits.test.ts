/** What only the splice engine has to take care of: descriptors, source ports, urgent data. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import koffi from 'koffi'
import { describe, expect, it } from 'vitest'
import { loadLibc, RLIMIT_NOFILE } from '../../src/kernel/libc/index.ts'
import { createSpliceEngine } from '../../src/relay/splice/index.ts'
import { buildProgram, buildWorker } from './build-worker.ts'
import { limitThatLeaves, ofDataThreads } from './descriptors.ts'
import { LOCAL, LOCAL6, tcpBed } from './tcp-bed.ts'
import { Peer } from './udp-peers.ts'

const workerFile = await buildWorker()
const libc = await loadLibc()

describe('splice: annexes', () => {
  // A table for some hundred listeners: a range of 300 ports on two addresses takes several.
  const bed = tcpBed(() => createSpliceEngine({ workerFile, openFiles: 256 }))
  const range = () => bed.ports(300)

  it('serve the listeners that do not fit, each port with its target', async () => {
    const ports = range()
    const targets = bed.ports(300)
    await bed.open({ address: LOCAL }, targets, { addresses: [LOCAL, LOCAL6], ports })
    for (const i of [0, 1, 95, 96, 97, 191, 192, 193, 299])
      for (const address of [LOCAL, LOCAL6]) {
        const server = await bed.listen(LOCAL, targets.first + i)
        const client = await bed.dial(ports.first + i, address)
        const backend = await server.accept()
        await client.write(`${i}`)
        expect(await backend.text(`${i}`.length)).toBe(`${i}`)
        await server.close()
      }
  })

  it('count as one service, are retargeted and closed as one', async () => {
    const ports = range()
    const server = await bed.echo()
    const { id } = await bed.open(null, server.port, { addresses: [LOCAL, LOCAL6], ports })
    await bed.engine.retarget(id, { address: LOCAL })
    const clients = await Promise.all(
      [ports.first, ports.first + 150, ports.last].map(port => bed.dial(port)),
    )
    for (const client of clients) {
      await client.write('12345')
      await client.text(5)
    }
    // Bytes are counted once they were sent, which may be after they arrived.
    await expect.poll(() => bed.counters(id)).toEqual({ active: 3, total: 3, bytesIn: 15, bytesOut: 15 })
    expect((await bed.engine.services())[0]?.ports).toEqual(ports)
    await bed.engine.close([id])
    for (const client of clients) expect(await client.end()).toBe('reset')
    await bed.open({ address: LOCAL }, server.port, { addresses: [LOCAL, LOCAL6], ports })
  })

  it('are all or nothing with the rest', async () => {
    const ports = range()
    const taken = await bed.echo(LOCAL6, ports.last)
    const service = bed.spec(null, 80, { addresses: [LOCAL, LOCAL6], ports })
    await expect(bed.engine.open([bed.spec(null, 80), service])).rejects.toMatchObject({
      code: 'port-taken',
      message: expect.stringContaining(`[::1]:${taken.port}/tcp`),
    })
    expect(await bed.engine.services()).toEqual([])
    await taken.close()
    await bed.engine.open([service])
  })

  it('serve UDP as well', async () => {
    const ports = range()
    const server = await Peer.bind(LOCAL, 0, { echo: true })
    bed.cleanup(() => server.close())
    await bed.open({ address: LOCAL }, server.port, { protocol: 'udp', addresses: [LOCAL, LOCAL6], ports })
    for (const port of [ports.first, ports.first + 150, ports.last]) {
      const client = await Peer.connect(LOCAL6, port)
      bed.cleanup(() => client.close())
      expect(String((await client.ask(`${port}`)).data)).toBe(`${port}`)
    }
  })

  it('are bounded', async () => {
    const service = bed.spec(null, 80, { ports: bed.ports(3000) })
    await expect(bed.engine.open([service])).rejects.toMatchObject({
      code: 'fd-limit',
      details: { needed: 3000, limit: 256 },
    })
  })
})

describe('splice: no descriptor left', () => {
  const bed = tcpBed(() => createSpliceEngine({ workerFile }))

  /** Clients in a process of their own, so that theirs are not our descriptors. They say a word and print the echo. */
  const clients = (port: number, count: number) => {
    const program = `
      const { connect } = require('node:net')
      const [port, count] = process.argv.slice(1).map(Number)
      for (let i = 0; i < count; i++)
        connect(port, '${LOCAL}', function () { this.write('x') })
          .on('data', () => process.stdout.write('.'))
          .on('error', () => process.stdout.write('!'))`
    const child = spawn(process.execPath, ['-e', program, '--', `${port}`, `${count}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    bed.cleanup(() => child.kill('SIGKILL'))
    let heard = ''
    child.stdout.on('data', data => {
      heard += String(data)
    })
    return { heard: () => heard, child }
  }

  it('clients wait in the backlog, nothing spins, and they are served when there is room again', async () => {
    const server = spawn(
      process.execPath,
      [
        '-e',
        `require('node:net').createServer(s => s.pipe(s).on('error', () => {})).listen(9000, '${LOCAL}', () => console.log('ready'))`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    bed.cleanup(() => server.kill('SIGKILL'))
    await once(server.stdout, 'data')
    const { id, port } = await bed.open({ address: LOCAL }, 9000)
    const { heard, child } = clients(port, 40)
    await once(child.stdout, 'readable')
    await expect.poll(heard).toBe('.'.repeat(40))
    child.kill('SIGKILL')
    await expect.poll(async () => (await bed.counters(id)).active).toBe(0)

    const limits = libc.pin(16)
    libc.prlimit(0, RLIMIT_NOFILE, 0, limits.address)
    const low = libc.pin(16)
    low.bytes.set(limits.bytes)
    const crowd = clients(port, 40)
    await once(crowd.child, 'spawn')
    low.view.setBigUint64(0, BigInt(limitThatLeaves(30)), true)
    libc.prlimit(0, RLIMIT_NOFILE, low.address, 0)
    try {
      await expect.poll(async () => (await bed.counters(id)).active).toBeGreaterThan(2)
      const settled = async (): Promise<number> => {
        const before = (await bed.counters(id)).active
        await new Promise(resolve => setTimeout(resolve, 300))
        return (await bed.counters(id)).active - before
      }
      await expect.poll(settled, { timeout: 5000 }).toBe(0)
      expect((await bed.counters(id)).active).toBeLessThan(40)
      const cpu = process.cpuUsage()
      await new Promise(resolve => setTimeout(resolve, 1000))
      const { user, system } = process.cpuUsage(cpu)
      expect((user + system) / 1e6).toBeLessThan(0.5)
    } finally {
      libc.prlimit(0, RLIMIT_NOFILE, limits.address, 0)
    }
    // No client was turned away: each got its echo in the end.
    await expect.poll(crowd.heard, { timeout: 5000 }).toBe('.'.repeat(40))
  })
})

describe('splice: descriptors kept back for control', () => {
  const OPEN_FILES = 256
  const bed = tcpBed(() => createSpliceEngine({ workerFile, openFiles: OPEN_FILES }))

  it('are not for flows: the oldest makes room', async () => {
    const server = await Peer.bind(LOCAL, 0, { echo: true })
    bed.cleanup(() => server.close())
    const { id, port } = await bed.open({ address: LOCAL }, server.port, { protocol: 'udp' })
    const program = `
      const { createSocket } = require('node:dgram')
      let answers = 0
      const next = () => {
        if (answers++ === 400) return console.log('done')
        const socket = createSocket('udp4')
        socket.once('message', next).send('x', ${port}, '${LOCAL}')
      }
      next()`
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    bed.cleanup(() => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    expect(await bed.counters(id)).toMatchObject({ total: 400 })
    expect(Math.max(...ofDataThreads('socket'))).toBeLessThan(OPEN_FILES - 32)
  })
})

describe('splice: source ports', () => {
  const bed = tcpBed(() => createSpliceEngine({ workerFile }))

  it('are found when a published range covers all that the kernel would use', async () => {
    const file = '/proc/sys/net/ipv4/ip_local_port_range'
    const server = await bed.echo(LOCAL, 9000)
    await bed.open({ address: LOCAL }, server.port, {
      addresses: ['0.0.0.0', '::'],
      ports: { first: 40_000, last: 40_099 },
    })
    writeFileSync(file, '40000 40099')
    bed.cleanup(() => writeFileSync(file, '32768 60999'))
    for (let i = 0; i < 20; i++) {
      const client = await bed.dial(40_000 + i, LOCAL, 50_000 + i)
      await client.write('hello')
      expect(await client.text(5)).toBe('hello')
    }
  })
})

describe('splice: threads with tables of their own', () => {
  const OPEN_FILES = 256
  const bed = tcpBed(() => createSpliceEngine({ workerFile, workers: 4, openFiles: OPEN_FILES }))

  it('hold as many connections each as a limit of open files allows', async () => {
    const server = await bed.echo()
    const { id, port } = await bed.open({ address: LOCAL }, server.port)
    const program = `
      const { connect } = require('node:net')
      for (let i = 0; i < 250; i++)
        connect(${port}, '${LOCAL}', function () { this.write('x') }).on('data', () => process.stdout.write('.')).on('error', () => {})`
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    bed.cleanup(() => child.kill('SIGKILL'))
    let heard = 0
    child.stdout.on('data', data => {
      heard += data.length
    })
    await expect.poll(() => heard, { timeout: 5000 }).toBe(250)
    expect((await bed.counters(id)).active).toBe(250)
    // Nobody listens on a port that was closed, in whichever table: it can be had again.
    await bed.engine.close([id])
    await bed.open({ address: LOCAL }, server.port, { ports: { first: port, last: port } })
  })
})

describe('splice: idle connections', () => {
  const bed = tcpBed(() => createSpliceEngine({ workerFile }))

  it('hold two sockets each and no pipe, whatever has passed through them', async () => {
    const server = await bed.echo()
    const { port } = await bed.open({ address: LOCAL }, server.port)
    const [sockets, pipes] = [ofDataThreads('socket').length, ofDataThreads('pipe').length]
    const bulk = Buffer.alloc(300_000, 'b')
    for (let i = 1; i <= 40; i++) {
      const client = await bed.dial(port)
      void client.write(bulk)
      expect((await client.read(bulk.length)).equals(bulk)).toBe(true)
      expect(ofDataThreads('socket')).toHaveLength(sockets + 2 * i)
    }
    // One pipe, of two ends, for either direction of the one connection that was in full flow.
    const kept = ofDataThreads('pipe').length - pipes
    expect(kept).toBeGreaterThan(0)
    expect(kept).toBeLessThanOrEqual(2 * 2)
  })
})

describe('splice: a thread that is full', () => {
  const OPEN_FILES = 256
  const CEILING = OPEN_FILES - 64
  const MOST = 300
  const logged: string[] = []
  const bed = tcpBed(() =>
    createSpliceEngine({ workerFile, workers: 2, openFiles: OPEN_FILES, log: line => logged.push(line) }),
  )

  it('leaves clients to the others, and numbers from the ceiling on to control', async () => {
    const server = await bed.echo()
    const busy = await bed.open({ address: LOCAL }, server.port)
    const quiet = []
    for (let i = 0; i < 20; i++) quiet.push(await bed.open({ address: LOCAL }, server.port))
    const isServed = async (port: number): Promise<void> => {
      const client = await bed.dial(port)
      await client.write('x')
      expect(await client.text(1)).toBe('x')
    }
    // One after another: the kernel prefers one of the threads.
    for (let i = 0; i < MOST && logged.length === 0; i++) await isServed(busy.port)
    expect(logged).toEqual([expect.stringContaining('accepting pauses')])
    for (const { port } of quiet) await isServed(port)
    expect(Math.max(...ofDataThreads('socket'))).toBeLessThan(CEILING)

    // More than both can take: the rest waits, for longer than it takes to try again.
    for (let i = 0; i < OPEN_FILES; i++) await bed.dial(busy.port)
    await expect.poll(() => logged.length).toBe(2)
    await new Promise(resolve => setTimeout(resolve, 500))
    expect((await bed.counters(busy.id)).active).toBeLessThan(CEILING)
    expect(Math.max(...ofDataThreads('socket'))).toBeLessThan(CEILING)
    await bed.open({ address: LOCAL }, server.port)
  })
})

describe('splice: urgent data', () => {
  const bed = tcpBed(() => createSpliceEngine({ workerFile }))
  const MSG_OOB = 1
  const send = koffi.load(null).func('intptr_t send(int fd, const void *data, size_t size, int flags)')
  const descriptor = (socket: unknown): number => (socket as { _handle: { fd: number } })._handle.fd

  it('does not stop a stream, and is passed on in its place', async () => {
    const { client, backend } = await bed.pair()
    await client.write('before ')
    expect(await backend.text(7)).toBe('before ')
    const bulk = Buffer.alloc(300_000, 'b')
    expect(send(descriptor(client.socket), Buffer.from('!'), 1, MSG_OOB)).toBe(1)
    void client.write(bulk)
    void client.write(' after')
    const heard = String(await backend.read(1 + bulk.length + 6))
    expect(heard[0]).toBe('!')
    expect(heard.endsWith('b after')).toBe(true)
  })
})

describe('splice: the process', () => {
  it.each(['process.exit(3)', `throw new Error('defect')`])(
    'ends at once with %s, data threads or not',
    async ending => {
      const program = await buildProgram(`
      import { createSpliceEngine } from './src/relay/splice/index.ts'
      const run = async () => {
        const engine = await createSpliceEngine({ workerFile: ${JSON.stringify(workerFile)}, workers: 2 })
        await engine.open([])
        ${ending}
      }
      run()`)
      const child = spawn(process.execPath, [program], { stdio: 'ignore' })
      const [status] = await once(child, 'exit', { signal: AbortSignal.timeout(10_000) }).finally(() =>
        child.kill('SIGKILL'),
      )
      expect(status).toBe(ending.startsWith('throw') ? 1 : 3)
    },
  )
})
