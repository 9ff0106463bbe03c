import { describe, expect, test } from 'vitest'
import { PortctlError } from '../../src/core/errors.ts'
import { createConntrack } from '../../src/kernel/conntrack.ts'
import { createFakeConntrack } from '../../src/kernel/fake/conntrack.ts'
import { parseFlow } from '../../src/kernel/flow.ts'
import { inNetns } from '../../src/kernel/process.ts'
import { useLab } from '../lab/hooks.ts'
import { runScript } from '../lab/script.ts'
import { conntrackConformance, type Seed } from './conntrack.conformance.ts'

const lab = useLab()

/** A line for `conntrack -R`. */
const insertion = ({ protocol, from, to, translatedTo, state }: Seed): string =>
  [
    `-A -p ${protocol} -t 120 -s ${from.address} --sport ${from.port} -d ${to.address} --dport ${to.port}`,
    ...(state === undefined ? [] : [`--state ${state} -u ASSURED`]),
    ...(translatedTo === undefined ? [] : [`--dst-nat ${literal(translatedTo)}`]),
  ].join(' ')

const literal = ({ address, port }: { readonly address: string; readonly port: number }): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

describe('conntrack(8)', () => {
  conntrackConformance(async (seeds, local) => {
    const { host } = lab()
    await lab().exec(host, 'ip', ['addr', 'flush', 'dev', 'lo', 'scope', 'global'])
    for (const address of local) await lab().exec(host, 'ip', ['addr', 'add', address, 'dev', 'lo'])
    await lab().exec(host, 'conntrack', ['-F'])
    const input = `${seeds.map(insertion).join('\n')}\n`
    const { stderr } = await inNetns(host.path)('conntrack', ['-R', '-'], { input })
    expect(stderr).toBe('')
    const conntrack = createConntrack(inNetns(host.path))
    return {
      conntrack,
      left: async () =>
        (await lab().sh(host, 'conntrack', '-L', '-o', 'extended'))
          .split('\n')
          .flatMap(line => parseFlow(line)?.original ?? [])
          .map(({ sourcePort }) => sourcePort)
          .sort(),
    }
  })

  test('a UDP client that never pauses reaches the new target after a flush, and not before', async () => {
    const { host, lan } = lab()
    const dnat = (port: number) =>
      lab().exec(host, 'nft', ['-f', '-'], {
        input: `add table ip t
          add chain ip t p { type nat hook prerouting priority -100; }
          flush chain ip t p
          add rule ip t p udp dport 5353 redirect to :${port}\n`,
      })
    const [one, two] = await Promise.all(
      ['one', 'two'].map(name => lab().serve(host, { kind: 'udp', host: host.ipv4, name })),
    )
    const reached = async () => {
      const question = {
        protocol: 'udp',
        host: host.ipv4,
        port: 5353,
        payload: '?',
        from: { port: 4000 },
      } as const
      return JSON.parse((await lab().ask(lan, question)).reply).name as string
    }
    const conntrack = createConntrack(inNetns(host.path))
    expect((await dnat(one?.port ?? 0)).exitCode).toBe(0)
    expect(await reached()).toBe('one')
    expect(await conntrack.count()).toContainEqual({
      protocol: 'udp',
      address: host.ipv4,
      port: 5353,
      flows: 1,
    })
    await dnat(two?.port ?? 0)
    expect(await reached()).toBe('one')
    const selector = { protocol: 'udp', hostIps: ['0.0.0.0'], ports: { first: 5353, last: 5353 } } as const
    expect(await conntrack.flush([selector])).toEqual({ flushed: 1 })
    expect(await reached()).toBe('two')
    await lab().sh(host, 'nft', 'delete', 'table', 'ip', 't')
  })

  test('many flows go over netlink, exactly those, and one that went by itself is no failure', async () => {
    const { host } = lab()
    const range = Array.from({ length: 300 }, (_, i) => i)
    const seeds: readonly Seed[] = range.flatMap(i => [
      {
        protocol: 'udp',
        from: { address: '203.0.113.9', port: 2000 + i },
        to: { address: host.ipv4, port: 20_000 + i },
      },
      {
        protocol: 'tcp',
        from: { address: '2001:db8:9::9', port: 3000 + i },
        to: { address: host.ipv6, port: 20_000 + i },
        translatedTo: { address: 'fd00:17::2', port: 80 },
        state: 'ESTABLISHED',
      },
    ])
    await lab().exec(host, 'conntrack', ['-F'])
    await inNetns(host.path)('conntrack', ['-R', '-'], { input: `${seeds.map(insertion).join('\n')}\n` })
    const left = async () =>
      (await lab().sh(host, 'conntrack', '-L')).split('\n').filter(line => line !== '').length
    expect(await left()).toBe(600)
    const result = await runScript(
      lab(),
      host,
      `import { PortctlError } from '../../src/core/errors.ts'
import { createConntrack } from './src/kernel/conntrack.ts'
       import { deleteFlows } from './src/kernel/ctnetlink.ts'
       import { execute } from './src/kernel/process.ts'
       const tools = []
       const spy = (tool, args, options) => { tools.push([tool, args[0]].join(' ')); return execute(tool, args, options) }
       const ports = { first: 20000, last: 20298 }
       const selectors = ['udp', 'tcp'].map(protocol => ({ protocol, hostIps: ['0.0.0.0', '::'], ports }))
       const outcome = await createConntrack(spy, deleteFlows).flush(selectors)
       const gone = { source: '203.0.113.9', destination: '${host.ipv4}', sourcePort: 2000, destinationPort: 20000 }
       await deleteFlows([{ protocol: 'udp', state: null, original: gone, reply: gone }])
       answer({ outcome, tools })`,
    )
    expect(result).toEqual({ outcome: { flushed: 598 }, tools: ['conntrack -L', 'ip -j'] })
    expect(await left()).toBe(2)
  })

  test('without FFI the tool deletes them all the same', async () => {
    const { host } = lab()
    const seeds = [1, 2, 3, 4, 5, 6].map(
      (port): Seed => ({
        protocol: 'udp',
        from: { address: '203.0.113.9', port: 9 },
        to: { address: host.ipv4, port },
      }),
    )
    await lab().exec(host, 'conntrack', ['-F'])
    await inNetns(host.path)('conntrack', ['-R', '-'], { input: `${seeds.map(insertion).join('\n')}\n` })
    const conntrack = createConntrack(inNetns(host.path), () =>
      Promise.reject(PortctlError.of('libc-unavailable', { why: 'a test' })),
    )
    const selector = { protocol: 'udp', hostIps: [host.ipv4], ports: { first: 1, last: 6 } } as const
    expect(await conntrack.flush([selector])).toEqual({ flushed: 6 })
    expect(await lab().sh(host, 'conntrack', '-L')).toBe('')
  })

  test('without the tool there is a note', async () => {
    const conntrack = createConntrack((_tool, args, options) =>
      inNetns(lab().host.path)('no-such-conntrack', args, options),
    )
    const selector = { protocol: 'udp', hostIps: ['0.0.0.0'], ports: { first: 1, last: 2 } } as const
    expect(await conntrack.flush([selector])).toMatchObject({ skipped: { code: 'tool-missing' } })
    expect(await conntrack.count()).toBeNull()
  })
})

describe('the fake', () => {
  conntrackConformance(async (seeds, local) => {
    const fake = createFakeConntrack(
      seeds.map(({ protocol, from, to, translatedTo = to, state }) => ({
        protocol,
        state: state ?? null,
        original: {
          source: from.address,
          sourcePort: from.port,
          destination: to.address,
          destinationPort: to.port,
        },
        reply: {
          source: translatedTo.address,
          sourcePort: translatedTo.port,
          destination: from.address,
          destinationPort: from.port,
        },
      })),
      local,
    )
    return {
      conntrack: fake,
      left: async () => fake.flows.map(({ original }) => original.sourcePort).sort(),
    }
  })
})

test.each([
  [
    'ipv4     2 tcp      6 431999 ESTABLISHED src=198.51.100.9 dst=198.51.100.1 sport=5001 dport=80 src=172.17.0.2 dst=198.51.100.9 sport=8080 dport=5001 [ASSURED] mark=0 use=1',
    { protocol: 'tcp', state: 'ESTABLISHED', reply: { source: '172.17.0.2', sourcePort: 8080 } },
  ],
  [
    'ipv6     10 udp      17 29 src=2001:db8::9 dst=2001:db8::1 sport=5002 dport=53 packets=1 bytes=40 [UNREPLIED] src=2001:db8::1 dst=2001:db8::9 sport=53 dport=5002 packets=0 bytes=0 mark=0 use=1',
    { protocol: 'udp', state: null, original: { destination: '2001:db8::1', destinationPort: 53 } },
  ],
])('parses %s', (line, flow) => {
  expect(parseFlow(line)).toMatchObject(flow)
})

test.each(['', 'ipv4     2 icmp     1 29 src=1.2.3.4 dst=1.2.3.5 type=8 code=0 id=1', 'conntrack v1.4.7'])(
  'passes over %j',
  line => {
    expect(parseFlow(line)).toBeNull()
  },
)
