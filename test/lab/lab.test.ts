import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Greeting } from './agent.ts'
import { useLab } from './hooks.ts'
import { createLab } from './lab.ts'

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
