/** Control may be killed at any moment: what was acknowledged is in force afterwards, what was carried goes on. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLab, type Lab, waitFor } from '../lab/lab.ts'
import { call, createInstance, type Instance, startBox } from '../paths/bed.ts'
import { fingerprint } from './fingerprint.ts'

let laboratory: Lab
let portctl: Instance
const lab = () => laboratory

// A laboratory each: what one test leaves must not stand in another's picture of the kernel.
beforeEach(async () => {
  laboratory = await createLab()
})
afterEach(() => laboratory.dispose())

interface Row {
  readonly id: string
  readonly hostPort: number
}
interface Status {
  readonly pid: number
  readonly relayPid: number
}

describe.each(['splice', 'node'] as const)('engine %s', engine => {
  beforeEach(async () => {
    portctl = await createInstance(lab(), lab().host, { args: ['--engine', engine] })
    await portctl.start()
  })

  test('a transfer through the relay survives SIGKILL of control, byte by byte, and is counted by the next one', async () => {
    const { host, lan } = lab()
    const box = await startBox(lab(), portctl, `sink-${engine}`)
    const sink = await lab().serve(box.netns, { kind: 'echo', host: '0.0.0.0', port: 9000 })
    await portctl.ok('publish', '9000:9000', '--to', box.name, '--via', 'relay')
    const before = await portctl.json<Status>('status')
    // 64 MiB at a bounded pace, echoed: long enough to outlive control.
    const transfer = lab().exec(
      lan,
      process.execPath,
      ['-e', PACED_ECHO, host.ipv4, '9000', String(64 << 20)],
      { timeout: 60_000 },
    )
    await waitFor('the transfer to be under way', async () => {
      const [row] = await portctl.json<{ bytes: { in: number } }[]>('ls')
      return (row?.bytes.in ?? 0) > 1 << 20
    })
    await portctl.stop('SIGKILL')
    await portctl.start()
    expect((await portctl.json<Status>('status')).relayPid).toBe(before.relayPid)
    const { exitCode, stdout, stderr } = await transfer
    expect(stderr).toBe('')
    expect(exitCode).toBe(0)
    expect(stdout).toBe(`${64 << 20} bytes, identical\n`)
    const [row] = await portctl.json<{ bytes: { in: number; out: number } }[]>('ls')
    expect(row?.bytes).toEqual({ in: 64 << 20, out: 64 << 20 })
    await sink.close()
  })

  test('all that was acknowledged is back after SIGKILL, and the kernel holds exactly that', async () => {
    const { host, lan } = lab()
    const web = await startBox(lab(), portctl, `web-${engine}`)
    await portctl.ok('publish', '8080:80', '8080:80/udp', '20000-20100:20000-20100', '--to', web.name)
    await portctl.ok('publish', '8081:80', '--to', web.name, '--via', 'relay', '--name', 'named')
    const asked = await portctl.json<Row[]>('ls')
    const before = await fingerprint(lab(), host)
    await portctl.stop('SIGKILL')
    // The kernel path does not even notice.
    expect((await call(lab(), lan, host.ipv4, 8080)).client).toBe(lan.ipv4)
    await portctl.start()
    expect((await portctl.json<Row[]>('ls')).map(row => row.id)).toEqual(asked.map(row => row.id))
    expect(await fingerprint(lab(), host)).toEqual(before)
    expect((await call(lab(), lan, host.ipv4, 8081)).name).toBe(`web-${engine}`)
  })

  // A test each: a dozen commands, and the daemons that they start instead, are seconds of a slow machine's time.
  test.each([1, 3, 6])(
    'killed when %i of many changes are acknowledged: those are back, and nothing else',
    async few => {
      const { host } = lab()
      const box = await startBox(lab(), portctl, `busy-${engine}`)
      const clean = await fingerprint(lab(), host)
      const acknowledged = new Set<number>()
      const requests = Array.from({ length: 12 }, async (_, i) => {
        const port = 10_000 + i
        const { exitCode } = await portctl.run(['publish', `${port}:80`, '--to', box.name])
        if (exitCode === 0) acknowledged.add(port)
      })
      await waitFor('some to be acknowledged', () => acknowledged.size >= few)
      await portctl.stop('SIGKILL')
      await Promise.all(requests)
      // A command whose daemon died starts another one; what was acknowledged by either must be there.
      await portctl.run(['status'])
      const ports = (await portctl.json<Row[]>('ls')).map(row => row.hostPort)
      for (const port of acknowledged) expect(ports).toContain(port)
      for (const port of ports) expect((await call(lab(), host, '::1', port)).name).toBe(`busy-${engine}`)
      await portctl.ok('unpublish', '--all')
      expect(await fingerprint(lab(), host)).toEqual(clean)
    },
  )

  test('a relay that is killed is replaced, with every listener', async () => {
    const { host, lan } = lab()
    const web = await startBox(lab(), portctl, `again-${engine}`)
    await portctl.ok('publish', '8090:80', '--to', web.name, '--via', 'relay')
    const { relayPid } = await portctl.json<Status>('status')
    process.kill(relayPid, 'SIGKILL')
    await waitFor('another relay', async () =>
      call(lab(), lan, host.ipv4, 8090).then(
        ({ name }) => name === `again-${engine}`,
        () => false,
      ),
    )
    expect((await portctl.json<Status>('status')).relayPid).not.toBe(relayPid)
  })

  test('killed while it makes containers, it leaves none half made', async () => {
    const { host } = lab()
    const name = portctl.name(`half-${engine}`)
    await portctl.ok('run', '--name', portctl.name(`first-${engine}`), '--', 'true')
    const running = portctl.run(['run', '-d', '--name', name, '--', 'sleep', '600'])
    await waitFor('the namespace', () => existsSync(`/run/netns/${name}`))
    await portctl.stop('SIGKILL')
    await running
    await portctl.run(['status'])
    const names = (await portctl.json<{ name: string }[]>('ps')).map(container => container.name)
    expect(existsSync(`/run/netns/${name}`)).toBe(names.includes(name))
    const veths = (await lab().sh(host, 'ip', '-br', 'link', 'show', 'type', 'veth')).match(/^veth/gm) ?? []
    expect(veths).toHaveLength(names.length)
  })

  test('SIGTERM takes back everything; --keep leaves everything for the next daemon', async () => {
    const { host, lan } = lab()
    const bare = await fingerprint(lab(), host)
    const web = await startBox(lab(), portctl, `end-${engine}`)
    await portctl.ok('publish', '8070:80', '--to', web.name)
    await portctl.ok('publish', '8071:80', '--to', web.name, '--via', 'relay')
    expect(await portctl.stop()).toBe(0)
    expect(await fingerprint(lab(), host)).toEqual(bare)
    expect(existsSync(`/run/netns/${web.name}`)).toBe(false)
    expect(readdirSync(portctl.runDir).filter(file => !file.endsWith('.lock'))).toEqual(['containers'])
    expect(readdirSync(join(portctl.runDir, 'containers'))).toEqual([])
    await portctl.start(['--keep', '--engine', engine])
    expect(await portctl.json<Row[]>('ls')).toEqual([])
    const kept = await startBox(lab(), portctl, `keep-${engine}`)
    await portctl.ok('publish', '8072:80', '--to', kept.name)
    await portctl.ok('publish', '8073:80', '--to', kept.name, '--via', 'relay')
    const before = await fingerprint(lab(), host)
    expect(await portctl.stop()).toBe(0)
    expect(await fingerprint(lab(), host)).toEqual(before)
    for (const port of [8072, 8073])
      expect((await call(lab(), lan, host.ipv4, port)).name).toBe(`keep-${engine}`)
    await portctl.start(['--engine', engine])
    expect(await portctl.json<Row[]>('ls')).toHaveLength(2)
  })
})

test('a flushed ruleset comes back by itself', async () => {
  const { host, lan } = lab()
  portctl = await createInstance(lab())
  await portctl.start()
  const web = await startBox(lab(), portctl, 'flushed')
  await portctl.ok('publish', '8060:80', '--to', web.name)
  await lab().sh(host, 'nft', 'flush', 'ruleset')
  // Meanwhile the relay answers.
  expect((await call(lab(), lan, host.ipv4, 8060)).name).toBe('flushed')
  await waitFor('the kernel path', async () => (await call(lab(), lan, host.ipv4, 8060)).client === lan.ipv4)
})

/** argv: host, port, bytes. Sends a pattern at about 40 MB/s and checks that exactly it comes back. */
const PACED_ECHO = `
const [host, port, size] = process.argv.slice(1)
const socket = require('net').connect({ host, port: Number(port), allowHalfOpen: true })
const total = Number(size), piece = Buffer.alloc(1 << 18)
const at = offset => { for (let i = 0; i < piece.length; i += 8) piece.writeDoubleLE(offset + i, i); return piece }
let sent = 0, got = 0, rest = Buffer.alloc(0)
const send = () => {
  if (sent >= total) return socket.end()
  const chunk = Buffer.from(at(sent)); sent += chunk.length
  socket.write(chunk, () => setTimeout(send, 6))
}
socket.on('connect', send)
socket.on('error', error => { console.error(error.message); process.exit(1) })
socket.on('data', data => {
  rest = Buffer.concat([rest, data])
  const whole = rest.length - (rest.length % 8)
  for (let i = 0; i < whole; i += 8) if (rest.readDoubleLE(i) !== got + i) { console.error('differs at ' + (got + i)); process.exit(1) }
  got += whole; rest = rest.subarray(whole)
})
socket.on('end', () => { console.log(got + rest.length + ' bytes, identical'); socket.destroy() })
`
