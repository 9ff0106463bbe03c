/** Every way a packet may take to a container through the kernel alone. */
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { failure, forward, GATEWAY, published, useBed } from './kernel-bed.ts'

const bed = useBed()
/** Whether a kernel without br_netfilter runs the tests, or one that can be told. */
const BRIDGE_FILTER = existsSync('/proc/sys/net/bridge') ? [0, 1] : [0]
const setBridgeFilter = async (filter: number): Promise<void> => {
  const { lab, host } = bed()
  for (const hook of BRIDGE_FILTER.length > 1 ? ['iptables', 'ip6tables'] : [])
    await lab.sh(host, 'sysctl', '-qw', `net.bridge.bridge-nf-call-${hook}=${filter}`)
}
const PROTOCOLS = ['tcp', 'udp'] as const

describe.each(PROTOCOLS)('%s', protocol => {
  test('from another machine, over both families, with the client address unchanged', async () => {
    const { load, visit, lan, host, web } = bed()
    await load(published(forward(web, 8080, { protocol })))
    expect(await visit(lan, host.ipv4, 8080, protocol)).toMatchObject({
      name: 'web',
      peer: { address: lan.ipv4 },
    })
    expect(await visit(lan, host.ipv6, 8080, protocol)).toMatchObject({
      name: 'web',
      peer: { address: lan.ipv6 },
    })
  })

  test('from the host itself, to any of its addresses', async () => {
    const { load, visit, host, web } = bed()
    await load(published(forward(web, 8080, { protocol })))
    for (const own of [host.ipv4, host.ipv4b, GATEWAY[4], host.ipv6, host.ipv6b, GATEWAY[6]])
      expect(await visit(host, own, 8080, protocol), own).toMatchObject({ name: 'web' })
    for (const own of ['127.0.0.1', '127.9.9.9'])
      expect(await visit(host, own, 8080, protocol), own).toMatchObject({
        name: 'web',
        peer: { address: GATEWAY[4] },
      })
    // Left to the relay, and none listens here.
    expect(await failure(visit(host, '::1', 8080, protocol))).not.toContain('answered')
  })

  // 1: br_netfilter takes bridged packets through the table, and translates within the bridge.
  test.each(BRIDGE_FILTER)(
    'hairpin, itself and its neighbour, masqueraded (br_netfilter %i)',
    async filter => {
      const { load, visit, host, web, neighbour } = bed()
      await setBridgeFilter(filter)
      await load(published(forward(web, 8080, { protocol })))
      for (const { netns } of [web, neighbour])
        for (const [address, gateway] of [
          [host.ipv4, GATEWAY[4]],
          [GATEWAY[4], GATEWAY[4]],
          [host.ipv6, GATEWAY[6]],
        ] as const)
          expect(await visit(netns, address, 8080, protocol)).toMatchObject({
            name: 'web',
            peer: { address: gateway },
          })
    },
  )

  test('from a container of another network, with its address kept', async () => {
    const { load, visit, host, web, stranger } = bed()
    await load(published(forward(web, 8080, { protocol })))
    for (const [address, family] of [
      [host.ipv4, 4],
      [host.ipv6, 6],
    ] as const)
      expect(await visit(stranger.netns, address, 8080, protocol)).toMatchObject({
        name: 'web',
        peer: { address: stranger[family] },
      })
  })

  test('neighbours talk directly, with their own addresses', async () => {
    const { load, visit, web, neighbour } = bed()
    await load(published())
    expect(await visit(neighbour.netns, web[4], 80, protocol)).toMatchObject({
      name: 'web',
      peer: { address: neighbour[4] },
    })
  })

  test('containers that leave wear the host address', async () => {
    const { lab, load, visit, lan, host, web } = bed()
    await load(published())
    for (const [address, own] of [
      [lan.ipv4, host.ipv4],
      [lan.ipv6, host.ipv6],
    ] as const) {
      const server = await lab.serve(lan, {
        kind: protocol === 'tcp' ? 'who' : 'udp',
        host: address,
        port: 7000,
        name: 'lan',
      })
      expect(await visit(web.netns, address, 7000, protocol)).toMatchObject({
        name: 'lan',
        peer: { address: own },
      })
      await server.close()
    }
  })

  test('bound to one address, it is there and nowhere else', async () => {
    const { load, visit, lan, host, web } = bed()
    await load(published(forward(web, 8080, { protocol, hostIps: [host.ipv4b, host.ipv6b] })))
    for (const address of [host.ipv4b, host.ipv6b])
      expect(await visit(lan, address, 8080, protocol)).toMatchObject({ name: 'web' })
    for (const address of [host.ipv4, host.ipv6])
      expect(await failure(visit(lan, address, 8080, protocol))).not.toContain('answered')
    expect(await failure(visit(host, '127.0.0.1', 8080, protocol))).not.toContain('answered')
  })

  test('of a range every port keeps its number', async () => {
    const { lab, load, visit, lan, host, web } = bed()
    const ports = { first: 20000, last: 20999 }
    await load(published(forward(web, 20000, { protocol, ports, toPorts: ports })))
    const kind = protocol === 'tcp' ? 'who' : 'udp'
    for (const port of [20000, 20517, 20999]) {
      const server = await lab.serve(web.netns, { kind, host: '0.0.0.0', port, name: `port ${port}` })
      expect(await visit(lan, host.ipv4, port, protocol)).toMatchObject({ name: `port ${port}` })
      expect(await visit(host, '127.0.0.1', port, protocol)).toMatchObject({ name: `port ${port}` })
      await server.close()
    }
    expect(await failure(visit(lan, host.ipv4, 21000, protocol))).not.toContain('answered')
  })

  test.each([['every address'], ['one address']])('a shifted range on %s', async where => {
    const { lab, load, visit, lan, host, web } = bed()
    const [ports, toPorts] = [
      { first: 20000, last: 20099 },
      { first: 20050, last: 20149 },
    ]
    const hostIps = where === 'one address' ? [host.ipv4, host.ipv6] : ['0.0.0.0', '::']
    const range = forward(web, 20000, { protocol, hostIps, ports, toPorts })
    // Its neighbour in the same map is a single port.
    await load(published(range, forward(web, 8080, { protocol, hostIps })))
    const kind = protocol === 'tcp' ? 'who' : 'udp'
    for (const [port, target] of [
      [20000, 20050],
      [20099, 20149],
    ] as const)
      for (const [any, address] of [
        ['0.0.0.0', host.ipv4],
        ['::', host.ipv6],
      ] as const) {
        const server = await lab.serve(web.netns, { kind, host: any, port: target, name: `${target}` })
        expect(await visit(lan, address, port, protocol)).toMatchObject({ name: `${target}` })
        await server.close()
      }
    expect(await visit(lan, host.ipv4, 8080, protocol)).toMatchObject({ name: 'web' })
    expect(await failure(visit(lan, host.ipv4, 20100, protocol))).not.toContain('answered')
    expect(await bed().traffic(range.publication)).toMatchObject({ connections: 4 })
  })
})

test('without an IPv6 target only IPv4 is translated', async () => {
  const { load, visit, lan, host, web } = bed()
  await load(published(forward(web, 8080, { families: [4] })))
  expect(await visit(lan, host.ipv4, 8080)).toMatchObject({ name: 'web' })
  expect(await failure(visit(lan, host.ipv6, 8080))).toBe('ECONNREFUSED')
})

test.each(BRIDGE_FILTER)(
  'machines on a bridge of somebody else reach each other (br_netfilter %i)',
  async filter => {
    const { lab, host, load, visit, without } = bed()
    await setBridgeFilter(filter)
    const bridge = `br${filter}`
    await lab.sh(host, 'ip', 'link', 'add', bridge, 'type', 'bridge')
    await lab.sh(host, 'ip', 'link', 'set', bridge, 'up')
    const join = async (number: number): Promise<string> => {
      const port = `${bridge}port${number}`
      const netns = await lab.namespace(port)
      await lab.sh(host, 'ip', 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns)
      await lab.sh(host, 'ip', 'link', 'set', port, 'master', bridge, 'up')
      await lab.sh(netns, 'ip', 'addr', 'add', `192.0.2.${number}/24`, 'dev', 'eth0')
      await lab.sh(netns, 'ip', 'addr', 'add', `2001:db8:2::${number}/64`, 'dev', 'eth0', 'nodad')
      await lab.sh(netns, 'ip', 'link', 'set', 'eth0', 'up')
      return netns
    }
    const [client, server] = [await join(1), await join(2)]
    const addresses = ['192.0.2.2', '2001:db8:2::2']
    for (const address of addresses)
      await lab.serve(server, { kind: 'who', host: address, port: 7301, name: 'there' })
    // The bridge forwards on our account; what it carries between its own ports the host does not route.
    await load({ ...published(), opened: { 4: [bridge], 6: [bridge] } })
    for (const address of addresses)
      expect(await visit(client, address, 7301)).toMatchObject({ name: 'there' })
    if (filter === 0) return
    await without('bridged')
    for (const address of addresses) expect(await failure(visit(client, address, 7301))).toBe('ETIMEDOUT')
  },
)
