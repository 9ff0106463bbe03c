import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { formatCidr } from '../../src/core/address.ts'
import { createFakeKernel } from '../../src/kernel/fake/index.ts'
import { createLinks } from '../../src/kernel/link.ts'
import {
  createNetns,
  nameOfNetns,
  netnsIdentity,
  netnsOfPid,
  netnsPath,
  pidsInNetns,
} from '../../src/kernel/netns.ts'
import { inNetns } from '../../src/kernel/process.ts'
import { netnsSysctl } from '../../src/kernel/sysctl.ts'
import { useLab } from '../lab/hooks.ts'
import { waitFor } from '../lab/lab.ts'
import { linksConformance } from './links.conformance.ts'

const lab = useLab()
const real = () => createLinks(inNetns(lab().host.path), netnsSysctl(lab().host.path))
const unique = () => `${lab().prefix}-${randomBytes(2).toString('hex')}`

describe('ip(8)', () => {
  linksConformance(async () => ({ links: real(), netns: createNetns(), name: unique() }))

  test('a container is reachable from the host and back as soon as it is wired, over both families', async () => {
    const links = real()
    const name = await lab().namespace('wired')
    await links.createBridge({
      name: 'portctl0',
      owner: 'bridge',
      mac: '02:42:ac:11:00:01',
      addresses: ['172.17.0.1/16', 'fd00:17::1/64'],
    })
    await links.createVeth({
      name: 'veth0',
      owner: 'wired',
      bridge: 'portctl0',
      netns: netnsPath(name),
      peer: 'eth0',
      mac: '02:42:ac:11:00:02',
      addresses: ['172.17.0.2/16', 'fd00:17::2/64'],
      gateways: ['172.17.0.1', 'fd00:17::1'],
    })
    expect(await lab().sh(name, 'ip', '-o', 'link', 'show', 'eth0')).toContain('02:42:ac:11:00:02')
    expect(await lab().sh(name, 'ip', 'route', 'show', 'default')).toContain('via 172.17.0.1 dev eth0')
    expect(await lab().sh(name, 'ip', '-6', 'route', 'show', 'default')).toContain('via fd00:17::1 dev eth0')
    expect(await lab().sh(name, 'ip', '-o', 'link', 'show', 'lo')).toContain('UP')
    // Not tentative: bind(2) must work at once.
    const { port } = await lab().serve(name, { kind: 'who', host: 'fd00:17::2' })
    await lab().ask(lab().host, { protocol: 'tcp', host: 'fd00:17::2', port })
    const server = await lab().serve(name, { kind: 'who', host: '172.17.0.2', port: 80, name: 'inside' })
    const { reply } = await lab().ask(lab().host, { protocol: 'tcp', host: '172.17.0.2', port: server.port })
    expect(JSON.parse(reply)).toMatchObject({ name: 'inside', peer: { address: '172.17.0.1' } })
    expect(await netnsSysctl(lab().host.path).read('net/ipv6/conf/portctl0/accept_ra')).toBe('0')
    await links.remove('veth0')
    expect(await lab().sh(name, 'ip', '-o', 'link')).not.toContain('eth0')
    await links.remove('portctl0')
  })

  test('blackholes and host routes of any table are occupied, default routes are not', async () => {
    await lab().sh(lab().host, 'ip', 'route', 'add', 'blackhole', '10.9.0.0/16')
    await lab().sh(lab().host, 'ip', 'route', 'add', '10.8.0.1', 'via', lab().lan.ipv4, 'table', '77')
    const occupied = (await real().occupied()).map(formatCidr)
    expect(occupied).toEqual(
      expect.arrayContaining(['10.9.0.0/16', '10.8.0.1/32', '198.51.100.0/24', '2001:db8:1::/64']),
    )
    expect(occupied.filter(cidr => cidr.endsWith('/0'))).toEqual([])
  })

  test('an error names the command that failed', async () => {
    const spec = {
      name: 'br-bad',
      owner: 'x',
      mac: '02:42:00:00:00:01',
      addresses: ['10.7.0.1/16', '10.7.0.1/16'],
    }
    await expect(real().createBridge(spec)).rejects.toMatchObject({
      message: expect.stringMatching(/^'ip addr add 10\.7\.0\.1\/16 dev br-bad' failed: .*(exists|assigned)/),
    })
    expect((await real().list()).map(link => link.name)).not.toContain('br-bad')
  })

  test('a missing namespace is told from a missing tool', async () => {
    const elsewhere = createLinks(inNetns('/run/netns/pct-no-such-namespace'))
    await expect(elsewhere.list()).rejects.toMatchObject({
      code: 'tool-failed',
      message: /pct-no-such-namespace/,
    })
  })
})

describe('the fakes', () => {
  linksConformance(async () => {
    const { netns, links } = createFakeKernel()
    return { netns, links, name: unique() }
  })
})

describe('namespaces', () => {
  test('one namespace has one identity under all its names', async () => {
    const { host, lan } = lab()
    const child = lab().spawn(host, 'sleep', ['60'])
    const pid = child.pid as number
    const inside = () => netnsIdentity(netnsOfPid(pid))
    const identity = await netnsIdentity(host.path)
    await waitFor('nsenter to be inside', async () => (await inside()) === identity)
    expect(identity).not.toBe(await netnsIdentity(lan.path))
    expect(await nameOfNetns(netnsOfPid(pid))).toBe(host.name)
    expect(await pidsInNetns(host.path)).toContain(pid)
    expect(await pidsInNetns(lan.path)).not.toContain(pid)
    child.kill('SIGKILL')
    await waitFor('the process to be gone', async () => !(await pidsInNetns(host.path)).includes(pid))
  })

  test('what is not there has no identity, no name and no processes', async () => {
    const path = netnsPath(`${lab().prefix}-absent`)
    expect(await netnsIdentity(path)).toBeNull()
    expect(await nameOfNetns(path)).toBeNull()
    expect(await pidsInNetns(path)).toEqual([])
  })

  test('our own process is in its own', async () => {
    expect(await pidsInNetns('/proc/self/ns/net')).toContain(process.pid)
  })

  test('a new one has lo up', async () => {
    const name = unique()
    await createNetns().create(name)
    try {
      expect(await lab().sh(name, 'ip', '-o', 'addr', 'show', 'lo')).toContain('127.0.0.1/8')
    } finally {
      await createNetns().remove(name)
    }
  })
})
