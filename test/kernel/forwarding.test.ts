import { describe, expect, test } from 'vitest'
import { createFakeSysctl } from '../../src/kernel/fake/sysctl.ts'
import { applyForwarding, planForwarding, restoreForwarding } from '../../src/kernel/forwarding.ts'
import type { Sysctl } from '../../src/kernel/sysctl.ts'
import { netnsSysctl } from '../../src/kernel/sysctl.ts'
import { useLab } from '../lab/hooks.ts'

/** A kernel before 6.17, with one interface that listens to router advertisements. */
const old = (changed: Readonly<Record<string, string>> = {}) =>
  createFakeSysctl({
    'net/ipv4/ip_forward': '0',
    'net/ipv4/conf/eth0/forwarding': '0',
    'net/ipv4/conf/eth1/forwarding': '1',
    'net/ipv6/conf/all/forwarding': '0',
    'net/ipv6/conf/eth0/accept_ra': '1',
    'net/ipv6/conf/eth1/accept_ra': '0',
    ...changed,
  })
const recent = (changed: Readonly<Record<string, string>> = {}) =>
  old({
    'net/ipv6/conf/all/force_forwarding': '0',
    'net/ipv6/conf/eth0/force_forwarding': '0',
    'net/ipv6/conf/eth1/force_forwarding': '0',
    ...changed,
  })

const openForwarding = async (sysctl: Sysctl, interfaces: readonly string[]) => {
  const plan = await planForwarding(sysctl, interfaces)
  await applyForwarding(sysctl, plan.changes)
  return plan
}

describe('which interfaces are opened', () => {
  test('only those that did not forward, by family', async () => {
    const sysctl = recent()
    const { changes, opened } = await openForwarding(sysctl, ['eth0', 'eth1', 'gone'])
    expect(opened).toEqual({ 4: ['eth0'], 6: ['eth0', 'eth1'] })
    expect(changes.map(({ key }) => key)).toEqual([
      'net/ipv4/conf/eth0/forwarding',
      'net/ipv6/conf/eth0/force_forwarding',
      'net/ipv6/conf/eth1/force_forwarding',
    ])
    expect(sysctl.values.get('net/ipv4/ip_forward')).toBe('0')
    expect(sysctl.values.get('net/ipv6/conf/all/forwarding')).toBe('0')
  })

  test('none where the machine forwards already', async () => {
    const sysctl = recent({ 'net/ipv4/ip_forward': '1', 'net/ipv6/conf/all/forwarding': '1' })
    expect(await openForwarding(sysctl, ['eth0', 'eth1'])).toEqual({ changes: [], opened: { 4: [], 6: [] } })
  })

  test('without force_forwarding IPv6 is opened for all, and advertisements stay accepted', async () => {
    const sysctl = old()
    const { changes, opened } = await openForwarding(sysctl, ['eth0', 'eth1'])
    expect(opened).toEqual({ 4: ['eth0'], 6: ['eth0', 'eth1'] })
    expect(changes.slice(1)).toEqual([
      { key: 'net/ipv6/conf/eth0/accept_ra', before: '1', after: '2' },
      { key: 'net/ipv6/conf/all/forwarding', before: '0', after: '1' },
    ])
  })

  test('a kernel without IPv6 opens IPv4', async () => {
    const sysctl = createFakeSysctl({ 'net/ipv4/ip_forward': '0', 'net/ipv4/conf/eth0/forwarding': '0' })
    expect((await openForwarding(sysctl, ['eth0'])).opened).toEqual({ 4: ['eth0'], 6: [] })
  })
})

describe('restoring', () => {
  test('puts everything back', async () => {
    for (const sysctl of [old(), recent()]) {
      const before = new Map(sysctl.values)
      const { changes } = await openForwarding(sysctl, ['eth0', 'eth1'])
      expect(sysctl.values).not.toEqual(before)
      await restoreForwarding(sysctl, changes)
      expect(sysctl.values).toEqual(before)
    }
  })

  test('leaves alone what somebody changed since, and what has gone', async () => {
    const sysctl = old()
    const { changes } = await openForwarding(sysctl, ['eth0'])
    sysctl.values.set('net/ipv6/conf/eth0/accept_ra', '0')
    sysctl.values.delete('net/ipv4/conf/eth0/forwarding')
    await restoreForwarding(sysctl, changes)
    expect(sysctl.values.get('net/ipv6/conf/eth0/accept_ra')).toBe('0')
    expect(sysctl.values.get('net/ipv6/conf/all/forwarding')).toBe('0')
  })

  test('a refusal half-way leaves nothing changed', async () => {
    const sysctl = recent()
    const before = new Map(sysctl.values)
    sysctl.readOnly.add('net/ipv6/conf/eth1/force_forwarding')
    await expect(openForwarding(sysctl, ['eth0', 'eth1'])).rejects.toMatchObject({
      code: 'sysctl-failed',
      message: expect.stringContaining('net.ipv6.conf.eth1.force_forwarding: EROFS'),
    })
    expect(sysctl.values).toEqual(before)
  })
})

describe('on the real kernel', () => {
  const lab = useLab({ lan: ['lan'] })

  test('packets of the interfaces opened are forwarded, over both families, and no longer after', async () => {
    const { host, lan } = lab()
    const sysctl = netnsSysctl(host.path)
    const inner = await lab().namespace('inner')
    await lab().sh(
      host,
      'ip',
      'link',
      'add',
      'inner0',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      inner,
    )
    for (const address of ['10.66.0.1/24', 'fd66::1/64'])
      await lab().sh(host, 'ip', 'addr', 'add', address, 'dev', 'inner0')
    await lab().sh(host, 'ip', 'link', 'set', 'inner0', 'up')
    for (const address of ['10.66.0.2/24', 'fd66::2/64'])
      await lab().sh(inner, 'ip', 'addr', 'add', address, 'dev', 'eth0')
    await lab().sh(inner, 'ip', 'link', 'set', 'eth0', 'up')
    await lab().sh(inner, 'ip', 'route', 'add', 'default', 'via', '10.66.0.1')
    await lab().sh(inner, 'ip', '-6', 'route', 'add', 'default', 'via', 'fd66::1')
    const ask = (address: string, port: number) =>
      lab().ask(lan, { protocol: 'tcp', host: address, port, timeout: 300 })
    const targets = await Promise.all(
      ['10.66.0.2', 'fd66::2'].map(
        async address => [address, (await lab().serve(inner, { kind: 'who', host: address })).port] as const,
      ),
    )
    for (const [address, port] of targets) await expect(ask(address, port)).rejects.toThrow()

    const { changes, opened } = await openForwarding(sysctl, ['eth0', 'inner0'])
    expect(opened).toEqual({ 4: ['eth0', 'inner0'], 6: ['eth0', 'inner0'] })
    for (const [address, port] of targets) expect((await ask(address, port)).reply).toContain('"peer"')
    // A second time there is nothing left to open.
    expect((await openForwarding(sysctl, ['eth0', 'inner0'])).changes).toEqual([])

    await restoreForwarding(sysctl, changes)
    for (const [address, port] of targets) await expect(ask(address, port)).rejects.toThrow()
    expect(await sysctl.read('net/ipv4/ip_forward')).toBe('0')
  })
})
