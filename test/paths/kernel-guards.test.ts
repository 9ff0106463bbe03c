/**
 * What the table keeps out. Every attack is tried twice: it must succeed with its guard taken away, so that it is the
 * guard that stops it.
 */
import { expect, test } from 'vitest'
import { type Machine, waitFor } from '../lab/lab.ts'
import { EMPTY, failure, forward, GATEWAY, published, useBed } from './kernel-bed.ts'

const bed = useBed(['lan', 'attacker'])
const attacker = (): Machine => bed().lab.machines.attacker as Machine
const without = (...comments: readonly string[]) => bed().without(...comments)

test('a forged route does not reach what is bound to 127.0.0.1, even with route_localnet on the way in', async () => {
  const { lab, host, web, load, visit } = bed()
  await lab.forgeRoute(attacker(), '127.0.0.0/8')
  await lab.sh(host, 'sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1')
  // In place of the relay, which listens on every published port.
  for (const kind of ['who', 'udp'] as const)
    await lab.serve(host, { kind, host: '127.0.0.1', port: 8080, name: 'relay' })
  for (const protocol of ['tcp', 'udp'] as const) {
    // One that the kernel carries, and one that only the relay does.
    for (const kernelPath of [true, false]) {
      const local = forward(web, 8080, { protocol, hostIps: ['127.0.0.1'], families: kernelPath ? [4] : [] })
      await load(published(local))
      expect(await failure(visit(attacker(), '127.0.0.1', 8080, protocol))).toBe('ETIMEDOUT')
      expect(await visit(host, '127.0.0.1', 8080, protocol)).toMatchObject({
        name: kernelPath ? 'web' : 'relay',
      })
    }
    await without('outside to loopback')
    expect(await visit(attacker(), '127.0.0.1', 8080, protocol)).toMatchObject({ name: 'relay' })
  }
})

test('a forged route to loopback is not translated either', async () => {
  const { lab, host, web, load, visit } = bed()
  await lab.forgeRoute(attacker(), '127.0.0.0/8')
  await lab.sh(host, 'sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1')
  await load(published(forward(web, 8090, { hostIps: ['127.0.0.1'] })))
  await without('outside to loopback')
  expect(await failure(visit(attacker(), '127.0.0.1', 8090))).toBe('ECONNREFUSED')
  await without('loopback')
  expect(await visit(attacker(), '127.0.0.1', 8090)).toMatchObject({ name: 'web' })
})

test('a forged route does not reach a container, published or not', async () => {
  const { lab, web, load, visit } = bed()
  await lab.forgeRoute(attacker(), '172.30.0.0/16')
  await lab.forgeRoute(attacker(), 'fd00:30::/64')
  await load(published(forward(web, 8080)))
  for (const family of [4, 6] as const) {
    expect(await failure(visit(attacker(), web[family], 80))).toBe('ETIMEDOUT')
    expect(await failure(visit(attacker(), web[family], 80, 'udp'))).toBe('ETIMEDOUT')
  }
  // Locks behind the first: nothing unpublished enters a bridge, and eth0 does not route for others.
  await without('direct routing')
  for (const family of [4, 6] as const)
    expect(await failure(visit(attacker(), web[family], 80))).toBe('ETIMEDOUT')
  await without('unpublished', 'not a router, IPv4', 'not a router, IPv6')
  for (const family of [4, 6] as const)
    expect(await visit(attacker(), web[family], 80)).toMatchObject({ name: 'web' })
})

test('the gateway address stays an address of the host', async () => {
  const { lab, host, load, visit } = bed()
  await lab.forgeRoute(attacker(), '172.30.0.0/16')
  await load(EMPTY)
  const server = await lab.serve(host, { kind: 'who', host: GATEWAY[4], port: 7001, name: 'host' })
  expect(await visit(attacker(), GATEWAY[4], 7001)).toMatchObject({ name: 'host' })
  expect(await visit(host, GATEWAY[4], 7001)).toMatchObject({ name: 'host' })
  await server.close()
})

test('a packet for another machine, to a published port number, passes through untouched', async () => {
  const { lab, lan, host, web, load, visit } = bed()
  // The way from attacker to lan leads through the host, and back directly.
  for (const address of [`${lan.ipv4}/32`, `${lan.ipv6}/128`]) await lab.forgeRoute(attacker(), address)
  const servers = []
  for (const kind of ['who', 'udp'] as const) {
    for (const address of [lan.ipv4, lan.ipv6])
      servers.push(await lab.serve(lan, { kind, host: address, port: 8080, name: 'lan' }))
    for (const port of [8080, 9080])
      for (const address of [web[4], web[6]])
        servers.push(await lab.serve(web.netns, { kind, host: address, port, name: 'web' }))
  }
  const ports = { first: 8000, last: 8999 }
  const shifted = { first: 9000, last: 9999 }
  for (const given of [{}, { ports, toPorts: ports }, { ports, toPorts: shifted }])
    for (const protocol of ['tcp', 'udp'] as const) {
      // The host of this test is a router by its owner's will, so it opened nothing.
      await load({ ...published(forward(web, 8080, { ...given, protocol })), opened: { 4: [], 6: [] } })
      for (const address of [lan.ipv4, lan.ipv6])
        expect(await visit(attacker(), address, 8080, protocol)).toMatchObject({ name: 'lan' })
      for (const address of [host.ipv4, host.ipv6])
        expect(await visit(attacker(), address, 8080, protocol)).toMatchObject({ name: 'web' })
    }
  await Promise.all(servers.map(server => server.close()))
})

test('an interface that forwards on our account does not route for others', async () => {
  const { lab, lan, load, visit } = bed()
  for (const address of [`${lan.ipv4}/32`, `${lan.ipv6}/128`]) await lab.forgeRoute(attacker(), address)
  const servers = [
    await lab.serve(lan, { kind: 'who', host: lan.ipv4, port: 7002, name: 'lan' }),
    await lab.serve(lan, { kind: 'who', host: lan.ipv6, port: 7002, name: 'lan' }),
  ]
  await load(EMPTY)
  for (const address of [lan.ipv4, lan.ipv6])
    expect(await failure(visit(attacker(), address, 7002))).toBe('ETIMEDOUT')
  // Each family by itself.
  await load({ ...EMPTY, opened: { 4: [], 6: ['eth0'] } })
  expect(await visit(attacker(), lan.ipv4, 7002)).toMatchObject({ name: 'lan' })
  expect(await failure(visit(attacker(), lan.ipv6, 7002))).toBe('ETIMEDOUT')
  // A bridge of ours among them (it forwards since we made it) must not cut its containers off.
  await load({ ...EMPTY, opened: { 4: ['portctl0', 'eth0'], 6: ['portctl0', 'eth0'] } })
  for (const address of [lan.ipv4, lan.ipv6])
    expect(await visit(bed().web.netns, address, 7002)).toMatchObject({ name: 'lan' })
  await Promise.all(servers.map(server => server.close()))
})

test('a container does not reach loopback services of the host through route_localnet', async () => {
  const { lab, host, web, load, visit } = bed()
  for (const kind of ['who', 'udp'] as const)
    await lab.serve(host, { kind, host: '127.0.0.1', port: 7003, name: 'host' })
  await lab.sh(web.netns, 'sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1')
  await lab.sh(web.netns, 'ip', 'addr', 'del', '127.0.0.1/8', 'dev', 'lo')
  await lab.sh(web.netns, 'ip', 'route', 'add', '127.0.0.0/8', 'via', GATEWAY[4])
  await load(EMPTY)
  for (const protocol of ['tcp', 'udp'] as const)
    expect(await failure(visit(web.netns, '127.0.0.1', 7003, protocol))).toBe('ETIMEDOUT')
  await without('container to loopback')
  for (const protocol of ['tcp', 'udp'] as const)
    expect(await visit(web.netns, '127.0.0.1', 7003, protocol)).toMatchObject({ name: 'host' })
})

test('a container cannot pose as the loopback of the host', async () => {
  const { lab, host, neighbour, load, watch } = bed()
  await lab.sh(neighbour.netns, 'sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1')
  await lab.sh(neighbour.netns, 'ip', 'addr', 'add', '127.9.9.9/32', 'dev', 'eth0')
  const heard = await watch(host, 'input', 'ip saddr 127.9.9.9 udp dport 7004')
  const from = { address: '127.9.9.9', port: 0 }
  const pose = () =>
    lab
      .ask(neighbour.netns, { protocol: 'udp', host: GATEWAY[4], port: 7004, from, timeout: 200 })
      .catch(() => undefined)
  await load(EMPTY)
  await pose()
  expect(await heard()).toBe(0)
  await without('container as loopback')
  await pose()
  expect(await heard()).toBe(1)
})

test('a packet that cannot be translated does not leave with the address of its container', async () => {
  const { lab, host, lan, web, load, watch } = bed()
  await load(EMPTY)
  // A packet in the middle of a connection that conntrack does not know is invalid, rather than a new flow.
  await lab.sh(host, 'sysctl', '-qw', 'net.netfilter.nf_conntrack_tcp_loose=0')
  const leaked = await watch(lan, 'prerouting', `ip saddr ${web[4]} tcp dport 7005`)
  const dropped = await watch(host, 'forward', `ip saddr ${web[4]} ct state invalid`)
  const server = await lab.serve(lan, { kind: 'echo', host: lan.ipv4, port: 7005 })
  const client = lab.spawn(web.netns, process.execPath, [
    '-e',
    `const socket = require('net').connect(7005, '${lan.ipv4}', () => console.log('up'))
     process.stdin.on('data', data => socket.write(data))`,
  ])
  await new Promise(resolve => client.stdout.once('data', resolve))
  const sendUnknown = async (passed: () => Promise<boolean>) => {
    await lab.sh(host, 'conntrack', '-D', '-p', 'tcp', '--dport', '7005').catch(() => undefined)
    client.stdin.write('x')
    await waitFor('a packet of the forgotten connection', passed)
  }
  await sendUnknown(async () => (await dropped()) > 0)
  expect(await leaked()).toBe(0)
  await without('untranslatable')
  // The client's own retransmissions go on meanwhile.
  await sendUnknown(async () => (await leaked()) > 0)
  client.kill('SIGKILL')
  await server.close()
})

test('networks do not reach each other, except through what is published', async () => {
  const { web, stranger, load, visit } = bed()
  await load(EMPTY)
  for (const family of [4, 6] as const)
    expect(await failure(visit(stranger.netns, web[family], 80))).toBe('ETIMEDOUT')
  await without('unpublished')
  for (const family of [4, 6] as const)
    expect(await visit(stranger.netns, web[family], 80)).toMatchObject({ name: 'web' })
})
