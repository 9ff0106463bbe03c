/** A host whose administrator has turned IPv6 off: everything works, over IPv4. */
import { expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { waitFor } from '../lab/lab.ts'
import { call, startBox } from '../paths/bed.ts'
import { placeOf, rowOf, startContainer, startedInstance } from './bed.ts'

const lab = useLab()

const ipv6 = (setting: 'on' | 'off') =>
  lab().sh(lab().host, 'sysctl', '-qw', `net.ipv6.conf.all.disable_ipv6=${setting === 'off' ? 1 : 0}`)

test('without IPv6, a container runs and is published over IPv4', async () => {
  const { host, lan } = lab()
  await ipv6('off')
  const portctl = await startedInstance(lab())
  const web = await startBox(lab(), portctl, 'web')
  const place = await placeOf(portctl, web.name)
  expect(place.ipv6).toBeNull()
  expect(await lab().sh(web.netns, 'ip', '-6', 'route', 'show', 'default')).toBe('')
  await portctl.ok('publish', '8080:80', '8081:80/udp', '--to', web.name)
  await portctl.ok('publish', '8082:80', '--to', web.name, '--via', 'relay')
  expect(await call(lab(), lan, host.ipv4, 8080)).toMatchObject({ name: 'web', client: lan.ipv4 })
  expect(await call(lab(), lan, host.ipv4, 8081, 'udp')).toMatchObject({ name: 'web', client: lan.ipv4 })
  expect(await call(lab(), host, '127.0.0.1', 8080)).toMatchObject({ name: 'web' })
  expect(await call(lab(), lan, host.ipv4, 8082)).toMatchObject({ name: 'web', client: place.gateway })
  const wanted = await portctl.run(['run', '--rm', '--ip', 'fd00::9', '--', 'true'])
  expect(wanted).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('[address-out-of-range]') })
  expect(await portctl.stop()).toBe(0)
})

test('a network with IPv6 comes back on a host that has lost it', async () => {
  const { host, lan } = lab()
  await ipv6('on')
  const portctl = await startedInstance(lab())
  const name = await startContainer(portctl, 'before')
  await portctl.ok('publish', '8090:80', '--to', name)
  expect((await placeOf(portctl, name)).ipv6).toMatch(/^fd/)
  await portctl.stop('SIGKILL')
  // As after a reboot.
  await lab().sh(host, 'ip', 'link', 'del', 'portctl0')
  await ipv6('off')
  await portctl.start()
  await waitFor('the container on its bridge', async () => (await rowOf(portctl, name))?.status === 'running')
  await lab().serve(name, { kind: 'who', host: '0.0.0.0', port: 80, name: 'again' })
  expect(await call(lab(), lan, host.ipv4, 8090)).toMatchObject({ name: 'again', client: lan.ipv4 })
  expect(await portctl.stop()).toBe(0)
})
