import { describe, expect, test } from 'vitest'
import { answersIpv4Only } from '../../src/daemon/ipv4-only.ts'
import { routeOf, type Surroundings } from '../../src/daemon/route.ts'
import type { Container, Network, Publication, Target } from '../../src/model/index.ts'

const network: Network = {
  id: 'n',
  name: 'bridge',
  driver: 'bridge',
  bridge: 'portctl0',
  subnet4: '172.17.0.0/16',
  gateway4: '172.17.0.1',
  subnet6: 'fd00::/64',
  gateway6: 'fd00::1',
}

const container = (id: string, ipv4: string | null, ipv6: string | null): Container => ({
  id,
  name: `name-${id}`,
  netns: `/run/netns/${id}`,
  pid: 1,
  pidStart: 1,
  status: 'running',
  exitCode: null,
  command: ['sleep'],
  autoRemove: false,
  endpoints:
    ipv4 === null && ipv6 === null
      ? []
      : [
          {
            network: 'bridge',
            interfaceName: 'eth0',
            hostInterface: 'veth0',
            ipv4,
            ipv6,
            mac: '02:42:ac:11:00:02',
          },
        ],
})

const around = (changed: Partial<Surroundings> = {}): Surroundings => ({
  containers: new Map(
    [
      container('dual', '172.17.0.2/16', 'fd00::2/64'),
      container('v4', '172.17.0.3/16', null),
      container('alone', null, null),
    ].map(c => [c.id, c]),
  ),
  networks: new Map([['bridge', network]]),
  ipv4Only: () => false,
  kernelPath: true,
  ...changed,
})

const publication = (target: Target, changed: Partial<Publication> = {}): Publication => ({
  id: 'p',
  name: null,
  protocol: 'tcp',
  hostIps: ['0.0.0.0', '::'],
  hostPort: 8080,
  hostPortEnd: 8080,
  target,
  targetPort: 80,
  targetPortEnd: 80,
  via: 'auto',
  ...changed,
})

const to = (id: string): Target => ({ kind: 'container', container: id })
const at = (address: string): Target => ({ kind: 'address', address })

describe('which way a publication goes', () => {
  test.each([
    ['a container of both families', to('dual'), {}, {}, 'kernel', { 4: '172.17.0.2', 6: 'fd00::2' }],
    ['an IPv4-only container', to('v4'), {}, {}, 'kernel', { 4: '172.17.0.3' }],
    [
      'a service that answers IPv4 only',
      to('dual'),
      {},
      { ipv4Only: () => true },
      'kernel',
      { 4: '172.17.0.2' },
    ],
    ['an IPv4-only container, bound to IPv6', to('v4'), { hostIps: ['::'] }, {}, 'relay', null],
    ['a container on no network', to('alone'), {}, {}, 'relay', null],
    ['an address behind our bridge', at('172.17.0.9'), {}, {}, 'kernel', { 4: '172.17.0.9' }],
    ['an address elsewhere', at('192.0.2.9'), {}, {}, 'relay', null],
    ['a namespace', { kind: 'netns', path: '/run/netns/x' } as const, {}, {}, 'relay', null],
    ['no nftables', to('dual'), {}, { kernelPath: false }, 'relay', null],
    ['--via relay', to('dual'), { via: 'relay' }, {}, 'relay', null],
    [
      '--via relay on loopback: guarded, not translated',
      to('dual'),
      { via: 'relay', hostIps: ['127.0.0.1'] },
      {},
      'relay',
      {},
    ],
  ] as const)('%s', (_, target, asked, surroundings, via, forward) => {
    const route = routeOf(publication(target, asked as Partial<Publication>), around(surroundings))
    expect(route.via).toBe(via)
    expect(route.forward?.to ?? null).toEqual(forward)
    expect(route.service?.addresses).toEqual((asked as Partial<Publication>).hostIps ?? ['0.0.0.0', '::'])
  })

  test('--via kernel reserves the port without serving it', () => {
    expect(routeOf(publication(to('dual'), { via: 'kernel' }), around()).service?.target).toBeNull()
  })

  test('the relay calls IPv4 first, and knows the other address', () => {
    expect(routeOf(publication(to('dual')), around()).service?.target).toEqual({
      address: '172.17.0.2',
      alternative: 'fd00::2',
    })
  })
})

describe('a service that answers IPv4 only', () => {
  const socket = (address: string, port = 80) => ({ address: address as never, port, inode: 1 })
  test.each([
    ['0.0.0.0 alone', [socket('0.0.0.0')], true],
    ['both', [socket('0.0.0.0'), socket('::')], false],
    ['a dual socket, which is in the IPv6 table', [socket('::')], false],
    ['nothing yet', [], false],
    ['another port', [socket('0.0.0.0', 81)], false],
    ['its IPv6 side on loopback', [socket('0.0.0.0'), socket('::1')], true],
  ])('%s', (_, sockets, expected) => {
    expect(answersIpv4Only(publication(to('dual')), sockets)).toBe(expected)
  })
})
