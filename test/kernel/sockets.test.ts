import { describe, expect, test } from 'vitest'
import { createFakeSysctl } from '../../src/kernel/fake/sysctl.ts'
import { diagnosedSockets, parseAnswer } from '../../src/kernel/sock-diag.ts'
import {
  type BoundSocket,
  boundSockets,
  localPortRange,
  parseSocketTable,
  portOwners,
  reservedPorts,
  tabledSockets,
} from '../../src/kernel/sockets.ts'
import { type ServerSpec, serverCommand } from '../lab/agent.ts'
import { useLab } from '../lab/hooks.ts'
import { waitFor } from '../lab/lab.ts'
import { runScript } from '../lab/script.ts'

const lab = useLab()

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
const row = (local: string, state: string, inode: number) =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 100 0 0 10 0\n`

test.each([
  ['tcp', row('0100007F:1F90', '0A', 7), [{ address: '127.0.0.1', port: 8080, inode: 7 }]],
  ['tcp', row('0100007F:1F90', '01', 7), []],
  ['tcp', row('00000000000000000000000000000000:0050', '0A', 8), [{ address: '::', port: 80, inode: 8 }]],
  [
    'tcp',
    row('B80D0120000000000000000001000000:0050', '0A', 9),
    [{ address: '2001:db8::1', port: 80, inode: 9 }],
  ],
  [
    'tcp',
    row('0000000000000000FFFF00000100007F:0050', '0A', 10),
    [{ address: '127.0.0.1', port: 80, inode: 10 }],
  ],
  ['udp', row('00000000:0035', '07', 11), [{ address: '0.0.0.0', port: 53, inode: 11 }]],
  ['udp', row('00000000:0035', '01', 11), []],
] as const)('a row of /proc/net/%s', (transport, line, sockets) => {
  expect(parseSocketTable(HEAD + line, transport)).toEqual(sockets)
})

test.each([
  ['the end of a dump', 3, 0, 'last'],
  ['the end of one that failed: no such module', 3, -2, undefined],
  ['an error', 2, -1, undefined],
] as const)('sock_diag answers with %s', (_, type, errno, expected) => {
  const view = new DataView(new ArrayBuffer(20))
  view.setUint32(0, 20, true)
  view.setUint16(4, type, true)
  view.setInt32(16, errno, true)
  const found: BoundSocket[] = []
  expect(parseAnswer({ view }, 20, 2, found)).toBe(expected)
  expect(found).toEqual([])
})

describe('in a namespace', () => {
  const serve = async (...specs: readonly ServerSpec[]) => {
    const [command = '', ...args] = serverCommand(...specs)
    const child = lab().spawn(lab().host, command, args)
    await new Promise(resolve => child.stdout.once('data', resolve))
    return child.pid as number
  }

  test('a port has an owner with a name, on each address it is bound to', async () => {
    const pid = await serve(
      { kind: 'who', host: '0.0.0.0', port: 8080 },
      { kind: 'who', host: '::1', port: 8080 },
      { kind: 'udp', host: '127.0.0.1', port: 8080 },
    )
    const tcp = await portOwners('tcp', 8080, pid)
    expect(tcp.map(({ address }) => address).sort()).toEqual(['0.0.0.0', '::1'])
    for (const owner of tcp) expect(owner).toMatchObject({ port: 8080, pid, process: 'node' })
    expect(await portOwners('udp', 8080, pid)).toMatchObject([{ address: '127.0.0.1', pid, process: 'node' }])
    expect(await portOwners('tcp', 8081, pid)).toEqual([])
    process.kill(pid, 'SIGKILL')
    await waitFor('the server to be gone', async () => (await boundSockets('tcp', pid)).length === 0)
  })

  test.each([
    ['sock_diag', diagnosedSockets],
    ['/proc', tabledSockets],
  ] as const)('%s: listeners beyond a page of the table, with connections among them', async (_, sockets) => {
    const ports = Array.from({ length: 600 }, (_, i) => 41_000 + i)
    const program = `
      const net = require('node:net')
      let open = 0
      for (const port of ${JSON.stringify(ports)})
        net.createServer().listen(port, '127.0.0.1', () =>
          net.connect(port, '127.0.0.1').on('connect', () => ++open === ${ports.length} && console.log('ready')))`
    const child = lab().spawn(lab().host, process.execPath, ['-e', program])
    await new Promise(resolve => child.stdout.once('data', resolve))
    const listening = (await sockets('tcp', child.pid as number))?.map(({ port }) => port) ?? []
    expect(listening.filter(port => ports.includes(port)).sort()).toEqual(ports)
    child.kill('SIGKILL')
  })

  test('sock_diag and /proc tell the same', async () => {
    const pid = await serve(
      { kind: 'who', host: '0.0.0.0', port: 8080 },
      { kind: 'who', host: '::', port: 8081 },
      { kind: 'who', host: '::1', port: 8082 },
      { kind: 'who', host: lab().host.ipv6, port: 8084 },
      { kind: 'udp', host: '127.0.0.1', port: 8080 },
      { kind: 'udp', host: '::', port: 8081 },
    )
    for (const transport of ['tcp', 'udp'] as const) {
      const there = await diagnosedSockets(transport, pid)
      expect(there?.length).toBe(transport === 'tcp' ? 4 : 2)
      expect(new Set(there)).toEqual(new Set(await tabledSockets(transport, pid)))
    }
    process.kill(pid, 'SIGKILL')
    await waitFor('the end', async () => (await diagnosedSockets('tcp', pid)) === undefined)
    expect(await diagnosedSockets('tcp', 'self')).toBeDefined()
  })

  test('where this process could not come back from a namespace it is not entered, and /proc tells', async () => {
    // In a user namespace that shares the network of its parent: allowed into its own children's, not back.
    const found = await runScript<readonly unknown[]>(
      lab(),
      lab().lan,
      `import { spawn } from 'node:child_process'
       import { diagnosedSockets, parseAnswer } from './src/kernel/sock-diag.ts'
       import { boundSockets } from './src/kernel/sockets.ts'
       const listen = "require('net').createServer().listen(48125, '0.0.0.0', () => console.log('up'))"
       const child = spawn('unshare', ['--net', process.execPath, '-e', listen])
       await new Promise(resolve => child.stdout.once('data', resolve))
       const diagnosed = await diagnosedSockets('tcp', child.pid)
       const bound = await boundSockets('tcp', child.pid)
       child.kill('SIGKILL')
       answer([diagnosed ?? 'not told', bound.map(({ port }) => port)])`,
      ['unshare', '--user', '--map-root-user'],
    )
    expect(found).toEqual(['not told', [48_125]])
  })

  test('sockets of other namespaces are not seen', async () => {
    const pid = await serve({ kind: 'who', host: '127.0.0.1', port: 48_123 })
    expect(await boundSockets('tcp', pid)).toMatchObject([{ address: '127.0.0.1', port: 48_123 }])
    expect((await boundSockets('tcp')).map(({ port }) => port)).not.toContain(48_123)
  })
})

test.each([
  [{ 'net/ipv4/ip_local_port_range': '32768\t60999' }, { first: 32_768, last: 60_999 }],
  [{ 'net/ipv4/ip_local_port_range': '20000 20010' }, { first: 20_000, last: 20_010 }],
  [{}, { first: 32_768, last: 60_999 }],
])('local ports of %j', async (values, range) => {
  expect(await localPortRange(createFakeSysctl(values))).toEqual(range)
})

test.each([
  ['', []],
  ['8080', [{ first: 8080, last: 8080 }]],
  [
    '8080,9000-9010',
    [
      { first: 8080, last: 8080 },
      { first: 9000, last: 9010 },
    ],
  ],
])('reserved ports %j', async (value, ranges) => {
  const sysctl = createFakeSysctl({ 'net/ipv4/ip_local_reserved_ports': value })
  expect(await reservedPorts(sysctl)).toEqual(ranges)
})
