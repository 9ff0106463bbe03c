/** What every Links and Netns does together: the real ones and the fakes run the same tests. */
import { beforeEach, expect, test } from 'vitest'
import { formatCidr } from '../../src/core/address.ts'
import type { BridgeSpec, Links, VethSpec } from '../../src/kernel/link.ts'
import { type Netns, netnsPath } from '../../src/kernel/netns.ts'

export interface Subject {
  readonly links: Links
  readonly netns: Netns
  /** A name no other test uses. */
  readonly name: string
}

export const linksConformance = (make: () => Promise<Subject>): void => {
  let { links, netns, name } = {} as Subject
  let bridge: BridgeSpec
  let veth: VethSpec

  const find = async (wanted: string) => (await links.list()).find(link => link.name === wanted)
  const occupied = async () => (await links.occupied()).map(formatCidr)

  beforeEach(async () => {
    ;({ links, netns, name } = await make())
    bridge = {
      name: 'br-test',
      owner: 'net1',
      mac: '02:42:0a:05:00:01',
      addresses: ['10.5.0.1/16', 'fd00:5::1/64'],
    }
    veth = {
      name: 'veth-test',
      owner: 'abc',
      bridge: bridge.name,
      netns: netnsPath(name),
      peer: 'eth0',
      mac: '02:42:0a:05:00:02',
      addresses: ['10.5.0.2/16', 'fd00:5::2/64'],
      gateways: ['10.5.0.1', 'fd00:5::1'],
    }
    await netns.create(name)
    return async () => {
      await links.remove(veth.name)
      await links.remove(bridge.name)
      await netns.remove(name)
    }
  })

  test('a namespace is listed until it is removed, and its name cannot be taken twice', async () => {
    expect(await netns.list()).toContain(name)
    await expect(netns.create(name)).rejects.toMatchObject({ code: 'netns-exists' })
    expect(await netns.remove(name)).toBe(true)
    expect(await netns.remove(name)).toBe(false)
    expect(await netns.list()).not.toContain(name)
  })

  test('a bridge is up, with its owner, address and MAC, and its networks are occupied', async () => {
    await links.createBridge(bridge)
    const { index, ...link } = (await find(bridge.name)) ?? { index: 0 }
    expect(index).toBeGreaterThan(1)
    expect(link).toEqual({
      ...{ name: bridge.name, kind: 'bridge', mac: bridge.mac, up: true, bridge: null, owner: 'net1' },
    })
    const own = (await links.addresses()).filter(({ interfaceName }) => interfaceName === bridge.name)
    expect(own).toContainEqual({ interfaceName: bridge.name, address: '10.5.0.1', prefix: 16 })
    expect(own).toContainEqual({ interfaceName: bridge.name, address: 'fd00:5::1', prefix: 64 })
    expect(await occupied()).toEqual(expect.arrayContaining(['10.5.0.0/16', 'fd00:5::/64']))
  })

  test('a bridge that is there already stays as it is', async () => {
    await links.createBridge(bridge)
    await expect(links.createBridge({ ...bridge, owner: 'other', addresses: [] })).rejects.toMatchObject({
      code: 'ip-failed',
      message: expect.stringContaining('br-test'),
    })
    expect(await find(bridge.name)).toMatchObject({ owner: 'net1', mac: bridge.mac })
    expect(await occupied()).toContain('10.5.0.0/16')
  })

  test('a veth hangs on its bridge, with its owner', async () => {
    await links.createBridge(bridge)
    await links.createVeth(veth)
    expect(await find(veth.name)).toMatchObject({ kind: 'veth', bridge: bridge.name, owner: 'abc', up: true })
  })

  test('a veth that cannot be finished is not there', async () => {
    // No bridge: found out after the pair exists.
    await expect(links.createVeth(veth)).rejects.toMatchObject({ code: 'ip-failed' })
    expect(await find(veth.name)).toBeUndefined()
    await links.createBridge(bridge)
    const elsewhere = { ...veth, netns: netnsPath(`${name}-absent`) }
    await expect(links.createVeth(elsewhere)).rejects.toMatchObject({ code: 'ip-failed' })
    expect(await find(veth.name)).toBeUndefined()
  })

  test('a link is removed once; what hung on a bridge hangs free', async () => {
    await links.createBridge(bridge)
    await links.createVeth(veth)
    expect(await links.remove(bridge.name)).toBe(true)
    expect(await links.remove(bridge.name)).toBe(false)
    expect(await find(veth.name)).toMatchObject({ bridge: null })
    expect(await occupied()).not.toContain('10.5.0.0/16')
    expect(await links.remove(veth.name)).toBe(true)
    expect(await find(veth.name)).toBeUndefined()
  })
}
