/**
 * The host forwards for containers, and for nobody else: `lan` and `beyond` are machines on two links of the host that
 * were not joined before the first container, and are not joined by it.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLab, type Lab, type Machine, type Where, waitFor } from '../lab/lab.ts'
import type { Instance } from '../lab/portctl.ts'
import { call, startBox } from '../paths/bed.ts'
import { attachBeyond, startedInstance, sysctl } from './bed.ts'

let laboratory: Lab
let portctl: Instance
let beyond: Machine
const lab = () => laboratory

beforeEach(async () => {
  laboratory = await createLab()
  beyond = await attachBeyond(laboratory)
  portctl = await startedInstance(laboratory)
})
afterEach(() => laboratory.dispose())

const GLOBAL = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'net.ipv6.conf.default.forwarding']

/** Both ways, both families: whether a packet of one machine is carried to the other by the host. */
const routed = async (a: Machine, b: Machine): Promise<readonly boolean[]> => {
  const ways: readonly (readonly [Where, string])[] = [
    [a, b.ipv4],
    [a, b.ipv6],
    [b, a.ipv4],
    [b, a.ipv6],
  ]
  const ping = ([from, to]: readonly [Where, string]) =>
    lab()
      .exec(from, 'ping', ['-c1', '-W1', to])
      .then(({ exitCode }) => exitCode === 0)
  return Promise.all(ways.map(ping))
}
const NO_WAY = [false, false, false, false]
const EVERY_WAY = [true, true, true, true]

const settings = (): Promise<string> =>
  lab().sh(
    lab().host,
    'sh',
    '-c',
    'grep . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv[46]/conf/*/*forwarding /proc/sys/net/ipv6/conf/*/accept_ra',
  )

test('a container is reached from both links, and reaches both; they do not reach each other', async () => {
  const { host, lan } = lab()
  expect(await routed(lan, beyond)).toEqual(NO_WAY)
  const before = await settings()

  const web = await startBox(lab(), portctl, 'web')
  await portctl.ok('publish', '8080:80', '--to', web.name)
  for (const [from, near] of [
    [lan, { 4: host.ipv4, 6: host.ipv6 }],
    [beyond, { 4: '203.0.113.1', 6: '2001:db8:113::1' }],
  ] as const) {
    expect(await call(lab(), from, near[4], 8080)).toMatchObject({ name: 'web', client: from.ipv4 })
    expect(await call(lab(), from, near[6], 8080)).toMatchObject({ name: 'web', client: from.ipv6 })
    for (const address of [from.ipv4, from.ipv6])
      expect((await lab().exec(web.netns, 'ping', ['-c1', '-W1', address])).exitCode).toBe(0)
  }
  expect(await routed(lan, beyond)).toEqual(NO_WAY)
  expect(await sysctl(lab(), ...GLOBAL)).toEqual(['0', '0', '0'])

  expect(await portctl.stop()).toBe(0)
  expect(await settings()).toBe(before)
  expect(await routed(lan, beyond)).toEqual(NO_WAY)
  // The wires are there: a router would join them.
  await lab().sh(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  expect(await routed(lan, beyond)).toEqual(EVERY_WAY)
})

test('a host that is a router stays one, during and after', async () => {
  const { host, lan } = lab()
  await lab().sh(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  const before = await settings()
  const web = await startBox(lab(), portctl, 'web')
  await portctl.ok('publish', '8080:80', '--to', web.name)
  expect(await routed(lan, beyond)).toEqual(EVERY_WAY)
  expect((await call(lab(), lan, host.ipv4, 8080)).client).toBe(lan.ipv4)
  expect(await portctl.stop()).toBe(0)
  expect(await settings()).toBe(before)
  expect(await routed(lan, beyond)).toEqual(EVERY_WAY)
})

test('an interface that appears later gets its forwarding by itself, however often it comes and goes', async () => {
  const { lan } = lab()
  const web = await startBox(lab(), portctl, 'web')
  await portctl.ok('publish', '8080:80', '--to', web.name)
  const late = await attachBeyond(lab(), 'uplink3', 114)
  const served = (address: string) =>
    call(lab(), late, address, 8080, 'tcp', 300).then(
      ({ client }) => client === late.ipv4 || client === late.ipv6,
      () => false,
    )
  const carried = () => Promise.all([served('203.0.114.1'), served('2001:db8:114::1')])
  await waitFor('the kernel path from the new link', async () => (await carried()).every(Boolean))
  expect(await routed(lan, late)).toEqual(NO_WAY)
  expect(await sysctl(lab(), ...GLOBAL)).toEqual(['0', '0', '0'])

  await lab().sh(lab().host, 'ip', 'link', 'del', 'uplink3')
  await lab().sh(lab().host, 'ip', 'link', 'add', 'uplink3', 'type', 'veth', 'peer', 'name', 'uplink4')
  await waitFor('forwarding on the interface that came back', async () =>
    (await sysctl(lab(), 'net.ipv4.conf.uplink3.forwarding'))[0] === '1' ? true : null,
  )
})

test('a daemon that was killed leaves the way back to the next one', async () => {
  const before = await settings()
  await startBox(lab(), portctl, 'web')
  await portctl.stop('SIGKILL')
  await portctl.start()
  expect(await portctl.stop()).toBe(0)
  expect(await settings()).toBe(before)
})
