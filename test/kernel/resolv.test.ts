import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { formatResolvConf, onlyLoopback, parseResolvConf, readHostResolver } from '../../src/kernel/resolv.ts'

test.each([
  ['nameserver 192.0.2.53\n', { nameservers: ['192.0.2.53'], search: [], options: [] }],
  [
    '# by NetworkManager\nsearch old.example\nsearch corp.example lan ; here\nnameserver 127.0.0.53\nnameserver 2001:DB8::53\noptions edns0 trust-ad\noptions ndots:2',
    {
      nameservers: ['127.0.0.53', '2001:db8::53'],
      search: ['corp.example', 'lan'],
      options: ['edns0', 'trust-ad', 'ndots:2'],
    },
  ],
  ['domain corp.example', { nameservers: [], search: ['corp.example'], options: [] }],
  [
    '\tnameserver\t192.0.2.1  \r\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\n',
    { nameservers: ['192.0.2.1'], search: [], options: [] },
  ],
  ['', { nameservers: [], search: [], options: [] }],
])('%j', (text, resolver) => {
  expect(parseResolvConf(text)).toEqual(resolver)
  expect(parseResolvConf(formatResolvConf(resolver))).toEqual(resolver)
})

test.each([
  [['127.0.0.53'], true],
  [['127.0.0.1', '::1'], true],
  [['127.0.0.1', '192.0.2.1'], false],
  // None means the host's own 127.0.0.1.
  [[], true],
])('nameservers %j reach nothing from a container: %s', (nameservers, expected) => {
  expect(onlyLoopback({ nameservers, search: [], options: [] })).toBe(expected)
})

test('reads a file, and a host without one', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'pct-resolv-'))
  try {
    const path = join(directory, 'resolv.conf')
    expect((await readHostResolver(path)).nameservers).toEqual([])
    await writeFile(path, 'nameserver 192.0.2.53\n')
    expect((await readHostResolver(path)).nameservers).toEqual(['192.0.2.53'])
    await expect(readHostResolver(directory)).rejects.toThrow('EISDIR')
  } finally {
    await rm(directory, { recursive: true })
  }
})
