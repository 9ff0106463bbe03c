/**
 * Packets that pretend to belong to a flow. Conntrack believes them, so `forward` asks how a flow was translated, in
 * which direction a packet goes and where it came in. And the other half: what does belong to a flow still arrives.
 */
import { expect, test } from 'vitest'
import type { Family } from '../../src/core/address.ts'
import { type Machine, waitFor } from '../lab/lab.ts'
import { EMPTY, failure, forward, GATEWAY, published, useBed } from './kernel-bed.ts'

const bed = useBed(['lan', 'attacker'])
const attacker = (): Machine => bed().lab.machines.attacker as Machine
const FAMILIES: readonly Family[] = [4, 6]

/** A datagram with the source address of somebody else, to an address that the host forwards to. */
const forge = async (source: string, port: number, destination: string, to: number): Promise<void> => {
  const { lab } = bed()
  const bits = source.includes(':') ? 128 : 32
  const borrow = (verb: string, ...flags: string[]) =>
    lab.sh(attacker(), 'ip', 'addr', verb, `${source}/${bits}`, 'dev', 'eth0', ...flags)
  const onLink = [bed().host.ipv4, bed().host.ipv6].includes(destination)
  if (!onLink) await lab.forgeRoute(attacker(), `${destination}/${bits}`)
  await borrow('add', ...(bits === 128 ? ['nodad'] : []))
  await lab
    .ask(attacker(), {
      protocol: 'udp',
      host: destination,
      port: to,
      payload: 'forged',
      from: { address: source, port },
      timeout: 200,
    })
    .catch(() => undefined)
  await borrow('del')
}

test.each(FAMILIES)(
  'nobody outside answers in the place of a published container to a client in another network, IPv%i',
  async family => {
    const { lab, host, web, stranger, load, watch, without } = bed()
    await load(published(forward(web, 8080, { protocol: 'udp' })))
    const at = family === 4 ? host.ipv4 : host.ipv6
    const from = { address: stranger[family], port: 7101 }
    const heard = await watch(stranger.netns, 'input', 'udp dport 7101')
    const ask = () =>
      lab.ask(stranger.netns, { protocol: 'udp', host: at, port: 8080, payload: 'ping', from })
    await ask()
    expect(await heard()).toBe(1)
    await forge(web[family], 80, stranger[family], 7101)
    expect(await heard()).toBe(1)
    await without('direct routing')
    await forge(web[family], 80, stranger[family], 7101)
    expect(await heard()).toBe(2)
  },
)

test.each(FAMILIES)(
  'nobody outside passes for a neighbour, to whom a container may give more, IPv%i',
  async family => {
    const { host, web, neighbour, load, watch, without } = bed()
    await load(published(forward(web, 8080, { protocol: 'udp' })))
    const heard = await watch(web.netns, 'input', 'udp dport 80')
    const source = `${family === 4 ? 'ip' : 'ip6'} saddr ${neighbour[family]} udp dport 80`
    const believed = await watch(web.netns, 'input', source)
    const at = family === 4 ? host.ipv4 : host.ipv6
    await forge(neighbour[family], 7106, at, 8080)
    expect([await heard(), await believed()]).toEqual([1, 0])
    await without(`hairpin, IPv${family}`)
    await forge(neighbour[family], 7107, at, 8080)
    expect([await heard(), await believed()]).toEqual([2, 1])
  },
)

test('nobody outside speaks to a container in the place of this host', async () => {
  // IPv6 only: an IPv4 packet from outside with an address of this host for its source is a martian to the kernel.
  const { lab, host, web, load, watch, without } = bed()
  await load(EMPTY)
  const from = { address: GATEWAY[6], port: 7102 }
  const heard = await watch(web.netns, 'input', 'ip6 nexthdr udp udp sport 7102')
  const ask = () => lab.ask(host, { protocol: 'udp', host: web[6], port: 80, payload: 'ping', from })
  await ask()
  expect(await heard()).toBe(1)
  await forge(GATEWAY[6], 7102, web[6], 80)
  expect(await heard()).toBe(1)
  await without('direct routing')
  await forge(GATEWAY[6], 7102, web[6], 80)
  expect(await heard()).toBe(2)
})

test.each(FAMILIES)('nobody outside answers what a container asked of somebody else, IPv%i', async family => {
  const { lab, lan, web, load, watch, without } = bed()
  await load(EMPTY)
  const address = family === 4 ? lan.ipv4 : lan.ipv6
  const server = await lab.serve(lan, { kind: 'udp', host: address, port: 7103, name: 'lan' })
  const heard = await watch(web.netns, 'input', 'udp dport 7104')
  const from = { address: web[family], port: 7104 }
  const question = { protocol: 'udp', host: address, port: 7103, payload: 'ping', from } as const
  await lab.ask(web.netns, question)
  expect(await heard()).toBe(1)
  // The true answer is addressed to the host; this one to the container itself.
  await forge(address, 7103, web[family], 7104)
  expect(await heard()).toBe(1)
  await without('direct routing', 'unpublished', `not a router, IPv${family}`)
  await forge(address, 7103, web[family], 7104)
  expect(await heard()).toBe(2)
  await server.close()
})

test.each(FAMILIES)('an error about what a container sent reaches it, IPv%i', async family => {
  const { lab, lan, web, load, watch } = bed()
  await load(EMPTY)
  const errors = await watch(
    web.netns,
    'input',
    family === 4 ? 'icmp type destination-unreachable' : 'icmpv6 type destination-unreachable',
  )
  const address = family === 4 ? lan.ipv4 : lan.ipv6
  await lab
    .ask(web.netns, { protocol: 'udp', host: address, port: 7105, payload: 'ping', timeout: 300 })
    .catch(() => undefined)
  await waitFor('the error', async () => (await errors()) > 0)
})

test.each(FAMILIES)('an error about what a published container answered reaches it, IPv%i', async family => {
  const { lab, host, lan, web, load, watch } = bed()
  await load(published(forward(web, 8080, { protocol: 'udp' })))
  const errors = await watch(
    web.netns,
    'input',
    family === 4 ? 'icmp type destination-unreachable' : 'icmpv6 type destination-unreachable',
  )
  await lab.exec(lan, 'nft', ['-f', '-'], {
    input: 'table inet deaf { chain input { type filter hook input priority 0; udp sport 8080 reject; }; }\n',
  })
  const at = family === 4 ? host.ipv4 : host.ipv6
  await lab
    .ask(lan, { protocol: 'udp', host: at, port: 8080, payload: 'ping', timeout: 300 })
    .catch(() => undefined)
  await waitFor('the error', async () => (await errors()) > 0)
  await lab.sh(lan, 'nft', 'delete', 'table', 'inet', 'deaf')
})

test('a resolver that was brought to the gateway for containers is not there for others', async () => {
  const { lab, host, web, load, visit, without } = bed()
  const networks = EMPTY.networks.map((net, i) => (i === 0 ? { ...net, resolver4: GATEWAY[4] } : net))
  await load({ ...EMPTY, networks })
  for (const kind of ['who', 'udp'] as const)
    for (const port of [53, 54]) await lab.serve(host, { kind, host: GATEWAY[4], port, name: 'resolver' })
  await lab.forgeRoute(attacker(), `${GATEWAY[4]}/32`)
  const resolver = { name: 'resolver' }
  for (const protocol of ['tcp', 'udp'] as const) {
    expect(await failure(visit(attacker(), GATEWAY[4], 53, protocol))).toBe('ETIMEDOUT')
    // Any other port of the gateway is the host's own affair.
    expect(await visit(attacker(), GATEWAY[4], 54, protocol)).toMatchObject(resolver)
    for (const asker of [web.netns, host])
      expect(await visit(asker, GATEWAY[4], 53, protocol)).toMatchObject(resolver)
  }
  await without('outside to resolver')
  for (const protocol of ['tcp', 'udp'] as const)
    expect(await visit(attacker(), GATEWAY[4], 53, protocol)).toMatchObject(resolver)
})
