import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import type { Greeting } from './agent.ts'
import { useLab } from './hooks.ts'
import { createLab, sweep } from './lab.ts'

const lab = useLab({ lan: ['lan', 'other'] })

test('a server tells its client who it is, over both families', async () => {
  const { host, lan } = lab()
  for (const [address, client] of [
    [host.ipv4, lan.ipv4],
    [host.ipv6, lan.ipv6],
  ] as const) {
    const tcp = await lab().serve(host, { kind: 'who', host: address, name: 'hello' })
    const udp = await lab().serve(host, { kind: 'udp', host: address, name: 'hello' })
    const http = await lab().serve(host, { kind: 'http', host: address, name: 'hello' })
    const said = await lab().ask(lan, { protocol: 'tcp', host: address, port: tcp.port, payload: 'ping' })
    const [line, rest] = said.reply.split('\n') as [string, string]
    expect(JSON.parse(line) as Greeting).toMatchObject({ name: 'hello', peer: { address: client } })
    expect(rest).toBe('ping')
    const datagram = await lab().ask(lan, { protocol: 'udp', host: address, port: udp.port, payload: 'ping' })
    expect(JSON.parse(datagram.reply)).toMatchObject({
      name: 'hello',
      peer: { address: client },
      data: 'ping',
    })
    const page = await lab().ask(lan, { protocol: 'http', host: address, port: http.port, payload: '/x' })
    expect(JSON.parse(page.reply)).toMatchObject({ name: 'hello', peer: { address: client }, data: 'GET /x' })
    await tcp.close()
    await expect(lab().ask(lan, { protocol: 'tcp', host: address, port: tcp.port })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
  }
})

test('a forged route sends packets for loopback to the host', async () => {
  const { host, machines } = lab()
  const other = machines.other as typeof host
  await lab().forgeRoute(other, '127.0.0.0/8')
  expect(await lab().sh(other, 'ip', 'route', 'get', '127.0.0.1')).toContain(`via ${host.ipv4}`)
})

test('nothing is left of a laboratory that was disposed', async () => {
  const second = await createLab()
  const extra = await second.namespace('extra')
  const child = second.spawn(extra, 'sleep', ['60'])
  const ended = new Promise(resolve => child.on('exit', (_code, signal) => resolve(signal)))
  await second.dispose()
  expect(await ended).toBe('SIGKILL')
  for (const path of [second.host.path, second.lan.path, `/run/netns/${extra}`])
    expect(existsSync(path)).toBe(false)
})

/** A process that makes a laboratory and then ends as told. */
const creator = async (end: string) => {
  const source = `import { createLab, sweep } from './test/lab/lab.ts'
    const lab = await createLab()
    await lab.serve(lab.host, { kind: 'who', host: '127.0.0.1' })
    await new Promise(done => process.stdout.write(lab.prefix, done))
    ${end}`
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: fileURLToPath(new URL('../..', import.meta.url)), loader: 'ts' },
    // Found by its own path at run time.
    define: { 'import.meta.url': JSON.stringify(new URL('agent.ts', import.meta.url).href) },
    ...{ bundle: true, platform: 'node', format: 'esm', write: false },
  })
  const program = spawnSync(process.execPath, ['--input-type=module', '-'], {
    input: outputFiles?.[0]?.text ?? '',
    encoding: 'utf8',
  })
  expect(program.stdout).toMatch(/^pct-\d+-[0-9a-f]{6}$/)
  return { left: readdirSync('/run/netns').filter(name => name.startsWith(program.stdout)), program }
}

test.each(['process.exit(0)', 'throw new Error("on purpose")', 'process.kill(process.pid, "SIGTERM")'])(
  'nothing is left when its creator ends by %s',
  async end => {
    expect((await creator(end)).left).toEqual([])
  },
)

test('what a killed creator left is swept, and nothing else', async () => {
  const { left } = await creator('process.kill(process.pid, "SIGKILL")')
  expect(left).toHaveLength(3)
  sweep()
  const names = readdirSync('/run/netns')
  expect(names.filter(name => left.includes(name))).toEqual([])
  expect(names).toContain(lab().host.name)
})
