/** What a container finds inside, and what the host holds for it: devices, addresses, routes, masquerade. */
import { beforeAll, expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import type { Instance } from '../lab/portctl.ts'
import { call } from '../paths/bed.ts'
import {
  bare,
  type ContainerRow,
  type Place,
  placeOf,
  rowOf,
  startContainer,
  startedInstance,
} from './bed.ts'

const lab = useLab({ lan: ['lan', 'lan2'] })
let portctl: Instance
let web: string
let place: Place

interface Link {
  readonly ifname: string
  readonly address: string
  readonly mtu: number
  readonly operstate: string
  readonly master?: string
  readonly addr_info: readonly {
    readonly local: string
    readonly prefixlen: number
    readonly scope: string
  }[]
}
interface Route {
  readonly dst: string
  readonly gateway?: string
  readonly dev: string
}

const links = async (where: string): Promise<readonly Link[]> =>
  JSON.parse(await lab().sh(where, 'ip', '-j', 'addr'))
const routes = async (where: string): Promise<readonly Route[]> =>
  [
    JSON.parse(await lab().sh(where, 'ip', '-j', '-4', 'route')),
    JSON.parse(await lab().sh(where, 'ip', '-j', '-6', 'route')),
  ].flat()

beforeAll(async () => {
  portctl = await startedInstance(lab())
  web = await startContainer(portctl, 'web')
  place = await placeOf(portctl, web)
})

test('inside are lo and eth0, up, with the addresses and the MAC that ps tells', async () => {
  const [lo, eth0, ...others] = await links(web)
  expect(others).toEqual([])
  expect(lo).toMatchObject({ ifname: 'lo', addr_info: [{ local: '127.0.0.1' }, { local: '::1' }] })
  expect(eth0).toMatchObject({ ifname: 'eth0', operstate: 'UP', address: place.mac })
  const global = eth0?.addr_info.filter(({ scope }) => scope === 'global') ?? []
  expect(global.map(({ local, prefixlen }) => `${local}/${prefixlen}`)).toEqual([place.ipv4, place.ipv6])
  expect(place.ipv6).toMatch(/^fd.*\/64$/)
  // Locally administered, unicast.
  expect(Number.parseInt(place.mac.slice(0, 2), 16) & 0b11).toBe(0b10)
})

test('its default routes lead to the bridge, over both families', async () => {
  const [bridge] = (await links(lab().host.name)).filter(({ ifname }) => ifname === 'portctl0')
  const own = bridge?.addr_info.filter(({ scope }) => scope === 'global').map(({ local }) => local)
  expect(own?.[0]).toBe(place.gateway)
  const defaults = (await routes(web)).filter(({ dst }) => dst === 'default')
  expect(defaults).toMatchObject([
    { gateway: own?.[0], dev: 'eth0' },
    { gateway: own?.[1], dev: 'eth0' },
  ])
})

test('one MTU from end to end, and a packet of that size passes', async () => {
  const [, eth0] = await links(web)
  const onHost = (await links(lab().host.name)).filter(({ ifname, master }) =>
    [ifname, master].includes('portctl0'),
  )
  expect(onHost).toHaveLength(2)
  expect(onHost.map(({ mtu }) => mtu)).toEqual([eth0?.mtu, eth0?.mtu])
  for (const [family, address, headers] of [
    ['-4', lab().lan.ipv4, 28],
    ['-6', lab().lan.ipv6, 48],
  ] as const) {
    const size = String((eth0?.mtu ?? 0) - headers)
    await lab().sh(web, 'ping', family, '-c1', '-W2', '-M', 'do', '-s', size, address)
  }
})

test('what leaves has the address of the host, over both families', async () => {
  const { host, machines } = lab()
  const lan2 = machines.lan2 as typeof host
  for (const [address, seen] of [
    [lan2.ipv4, host.ipv4],
    [lan2.ipv6, host.ipv6],
  ] as const)
    for (const protocol of ['tcp', 'udp'] as const) {
      const kind = protocol === 'tcp' ? 'who' : 'udp'
      const { port } = await lab().serve(lan2, { kind, host: address, name: 'outside' })
      const called = await call(lab(), web, address, port, protocol)
      expect(called).toMatchObject({ name: 'outside', client: seen })
    }
})

test('neighbours meet with their own addresses, and by their links', async () => {
  const neighbour = await startContainer(portctl, 'neighbour')
  const there = await placeOf(portctl, neighbour)
  for (const [address, seen] of [
    [bare(there.ipv4), bare(place.ipv4)],
    [bare(there.ipv6), bare(place.ipv6)],
  ] as const) {
    const { port } = await lab().serve(neighbour, { kind: 'who', host: address, name: 'neighbour' })
    expect(await call(lab(), web, address, port)).toMatchObject({ name: 'neighbour', client: seen })
  }
  const seen = await lab().sh(web, 'ip', '-4', 'neigh', 'show', bare(there.ipv4))
  expect(seen).toContain(there.mac)
  await portctl.ok('rm', '-f', neighbour)
})

test('the host reaches the container by its address, and the container the host by its gateway', async () => {
  const { host } = lab()
  const inside = await lab().serve(web, { kind: 'who', host: bare(place.ipv4), name: 'inside' })
  expect((await call(lab(), host, bare(place.ipv4), inside.port)).client).toBe(place.gateway)
  const outside = await lab().serve(host, { kind: 'who', host: place.gateway, name: 'host' })
  expect((await call(lab(), web, place.gateway, outside.port)).client).toBe(bare(place.ipv4))
})

test('ip netns sees it under its name', async () => {
  const { exitCode, stdout } = await lab().exec(lab().host, 'ip', [
    ...['netns', 'exec', web, 'ip', '-br', '-4', 'addr', 'show', 'eth0'],
  ])
  expect({ exitCode, address: stdout.split(/\s+/)[2] }).toEqual({ exitCode: 0, address: place.ipv4 })
  expect((await rowOf(portctl, web))?.netns).toBe(`/run/netns/${web}`)
})

test('a name that is taken, by us or by somebody else, is refused, and its namespace left alone', async () => {
  const foreign = await lab().namespace('foreign')
  const command = ['run', '-d', '--name', foreign, '--', 'sleep', '600']
  const refused = await portctl.run(command)
  expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('[netns-exists]') })
  expect(await lab().sh(foreign, 'ip', '-br', 'link', 'show', 'lo')).toContain('UP')
  const taken = await portctl.run(['run', '-d', '--name', web, '--', 'sleep', '600'])
  expect(taken).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('[name-taken]') })
  for (const name of ['../up', 'a/b', '', '-x'])
    expect((await portctl.run(['run', `--name=${name}`, '--', 'true'])).exitCode, name).not.toBe(0)
  expect(await portctl.json<ContainerRow[]>('ps')).toHaveLength(1)
})

test('--network none: nothing but lo, and no trace on the host', async () => {
  const before = await links(lab().host.name)
  const name = await startContainer(portctl, 'alone', ['--network', 'none'])
  expect((await links(name)).map(({ ifname }) => ifname)).toEqual(['lo'])
  expect((await links(lab().host.name)).length).toBe(before.length)
  expect((await rowOf(portctl, name))?.networks).toEqual({})
  await portctl.ok('rm', '-f', name)
  expect(await portctl.run(['run', '--network', 'no-such-net', '--', 'true'])).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('[network-not-found]'),
  })
})

test('--ip: the address asked for, or a refusal that says why', async () => {
  const [a, b] = place.ipv4.split('.')
  const wanted = `${a}.${b}.40.7`
  const name = await startContainer(portctl, 'static', ['--ip', wanted])
  expect((await placeOf(portctl, name)).ipv4).toBe(`${wanted}/16`)
  const wanted6 = `${bare(place.ipv6).replace(/::.*/, '')}::beef`
  const other = await startContainer(portctl, 'static6', ['--ip', wanted6])
  expect((await placeOf(portctl, other)).ipv6).toBe(`${wanted6}/64`)
  for (const [options, code] of [
    [['--ip', wanted], 'address-taken'],
    [['--ip', place.gateway], 'address-out-of-range'],
    [['--ip', `${a}.${b}.255.255`], 'address-out-of-range'],
    [['--ip', '192.0.2.9'], 'address-out-of-range'],
    [['--ip', 'fd00::9'], 'address-out-of-range'],
    [['--ip', 'nonsense'], 'address-invalid'],
    [['--ip', wanted, '--network', 'none'], 'address-out-of-range'],
  ] as const) {
    const { exitCode, stderr } = await portctl.run(['run', '--rm', ...options, '--', 'true'])
    expect(stderr, options.join(' ')).toContain(`[${code}]`)
    expect(exitCode).toBe(code === 'address-invalid' ? 2 : 1)
  }
  await portctl.ok('rm', '-f', name, other)
  expect((await portctl.json<ContainerRow[]>('ps')).map(row => row.name)).toEqual([web])
})

test('an address that was freed is not given out again at once', async () => {
  const given: string[] = []
  const churn = async (label: string) => {
    const name = await startContainer(portctl, label)
    given.push((await placeOf(portctl, name)).ipv4)
    await portctl.ok('rm', '-f', name)
  }
  await churn('first')
  await churn('second')
  await churn('third')
  expect(new Set(given).size).toBe(3)
})

test('twenty that start at once all come up, each with an address and a MAC of its own', async () => {
  const names = Array.from({ length: 20 }, (_, i) => portctl.name(`many${i}`))
  await Promise.all(names.map(name => portctl.ok('run', '-d', '--name', name, '--', 'sleep', '600')))
  const rows = (await portctl.json<ContainerRow[]>('ps')).filter(({ name }) => names.includes(name))
  expect(rows.map(({ status }) => status)).toEqual(names.map(() => 'running'))
  const places = rows.map(({ networks }) => networks.bridge as Place)
  for (const field of ['ipv4', 'ipv6', 'mac'] as const)
    expect(new Set(places.map(row => row[field])).size).toBe(20)
  const pings = names.map(name =>
    lab()
      .sh(name, 'ping', '-c1', '-W2', bare(place.ipv4))
      .then(
        () => 'reaches',
        () => 'does not reach',
      ),
  )
  expect(await Promise.all(pings)).toEqual(names.map(() => 'reaches'))
  await portctl.ok('rm', '-f', ...names)
  expect(
    (await lab().sh(lab().host, 'ip', '-br', 'link', 'show', 'type', 'veth')).match(/^veth/gm),
  ).toHaveLength(1)
})
