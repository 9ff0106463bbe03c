import { expect, test } from 'vitest'
import { inNetns } from '../../src/kernel/process.ts'
import { requireRoute } from '../../src/kernel/reach.ts'
import { useLab } from '../lab/hooks.ts'

const lab = useLab()
const route = (address: string) => requireRoute(address, inNetns(lab().host.path))

test('what there is a route to is reachable', async () => {
  for (const address of [lab().lan.ipv4, lab().lan.ipv6, '127.0.0.1', '::1', '192.0.2.1'])
    await expect(route(address)).resolves.toBeUndefined()
})

test('what there is none to is refused with its name and the reason', async () => {
  await lab().sh(lab().host, 'ip', 'route', 'add', 'blackhole', '10.1.0.0/16')
  await lab().sh(lab().host, 'ip', 'route', 'add', 'unreachable', '10.2.0.0/16')
  await lab().sh(lab().host, 'ip', '-6', 'route', 'add', 'prohibit', 'fd01::/16')
  for (const address of ['10.1.0.1', '10.2.0.1', 'fd01::1'])
    await expect(route(address)).rejects.toMatchObject({
      code: 'target-unreachable',
      message: expect.stringContaining(address),
    })
})
