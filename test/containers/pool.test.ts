/** The default network's pool overlaps nothing that the host has an address on or a route to. */
import { expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { createInstance } from '../lab/portctl.ts'
import { placeOf, startContainer } from './bed.ts'

const lab = useLab()

/** 172.a to 172.b, a /16 each. */
const pools = (first: number, last: number): readonly string[] =>
  Array.from({ length: last - first + 1 }, (_, i) => `172.${first + i}.0.0/16`)

test.each([
  { host: 'with nothing of the kind', addresses: [], routes: [], first: '172.17.0.2' },
  {
    host: 'with an address in the first pool and a route into the second',
    addresses: ['172.17.200.1/30'],
    routes: ['172.18.1.0/24'],
    first: '172.19.0.2',
  },
  { host: 'with 172.16/12 routed away', addresses: [], routes: ['172.16.0.0/12'], first: '10.0.0.2' },
  {
    host: 'with each pool of 172.16/12 in use, and some of 10/8',
    addresses: ['10.1.2.3/16'],
    routes: [...pools(16, 31), '10.0.0.1/32'],
    first: '10.2.0.2',
  },
  {
    host: 'with a VPN that takes all traffic by halves',
    addresses: [],
    routes: ['0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1'],
    first: '172.17.0.2',
  },
  {
    host: 'with a route in another table',
    addresses: [],
    routes: ['172.17.0.0/16 table 100'],
    first: '172.18.0.2',
  },
])('on a host $host the first address is $first', async ({ addresses, routes, first }) => {
  const { host } = lab()
  await lab().sh(host, 'ip', 'link', 'add', 'used0', 'type', 'veth', 'peer', 'name', 'used1')
  try {
    for (const end of ['used0', 'used1']) await lab().sh(host, 'ip', 'link', 'set', end, 'up')
    for (const address of addresses) await lab().sh(host, 'ip', 'addr', 'add', address, 'dev', 'used0')
    for (const route of routes)
      await lab().sh(host, 'ip', 'route', 'add', ...route.split(' '), 'dev', 'used0')
    const portctl = await createInstance(lab())
    await portctl.start()
    const name = await startContainer(portctl, 'pool')
    const { ipv4, ipv6, gateway } = await placeOf(portctl, name)
    expect(ipv4).toBe(`${first}/16`)
    expect(gateway).toBe(first.replace(/2$/, '1'))
    expect(ipv6).toMatch(/^fd[0-9a-f:]+::2\/64$/)
    expect(await lab().sh(host, 'ip', '-br', '-4', 'addr', 'show', 'portctl0')).toContain(`${gateway}/16`)
    expect(await portctl.stop()).toBe(0)
  } finally {
    await lab().sh(host, 'ip', 'link', 'del', 'used0')
  }
})

test('when no pool is free the container is refused, and nothing is left', async () => {
  const { host } = lab()
  for (const route of ['172.16.0.0/12', '10.0.0.0/8'])
    await lab().sh(host, 'ip', 'route', 'add', route, 'via', lab().lan.ipv4)
  const portctl = await createInstance(lab())
  await portctl.start()
  const { exitCode, stderr } = await portctl.run(['run', '--name', portctl.name('none-left'), '--', 'true'])
  expect(exitCode).toBe(1)
  expect(stderr).toContain('[no-free-pool]')
  expect(await portctl.json('ps')).toEqual([])
  expect(await lab().sh(host, 'ip', '-br', 'link', 'show', 'type', 'bridge')).toBe('')
  expect(await portctl.stop()).toBe(0)
  for (const route of ['172.16.0.0/12', '10.0.0.0/8']) await lab().sh(host, 'ip', 'route', 'del', route)
})

test('a link that is called portctl0 already is left alone', async () => {
  const { host } = lab()
  await lab().sh(host, 'ip', 'link', 'add', 'portctl0', 'type', 'veth', 'peer', 'name', 'used1')
  const portctl = await createInstance(lab())
  await portctl.start()
  await startContainer(portctl, 'beside')
  const links = await lab().sh(host, 'ip', '-d', '-br', 'link', 'show', 'type', 'bridge')
  expect(links).toMatch(/^portctl1 /m)
  expect(await portctl.stop()).toBe(0)
  expect(await lab().sh(host, 'ip', '-br', 'link', 'show', 'type', 'veth')).toMatch(/^portctl0@/m)
  await lab().sh(host, 'ip', 'link', 'del', 'portctl0')
})
