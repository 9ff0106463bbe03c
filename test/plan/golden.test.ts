/** The ruleset as a person reads it, listed by nft from a kernel that holds it. `vitest -u` writes it anew. */
import { readFileSync } from 'node:fs'
import { beforeAll, expect, test } from 'vitest'
import { createNft } from '../../src/kernel/nft.ts'
import { inNetns } from '../../src/kernel/process.ts'
import type { Desired } from '../../src/plan/index.ts'
import { replaceTable } from '../../src/plan/ruleset.ts'
import { useLab } from '../lab/hooks.ts'

const EVERYWHERE = ['0.0.0.0', '::']
const TO = { 4: '172.18.0.2', 6: 'fd00::2' }

/** One publication of every kind. */
const EXAMPLE: Desired = {
  networks: [{ bridge: 'portctl0', subnet4: '172.18.0.0/16', subnet6: 'fd00::/64', resolver4: '172.18.0.1' }],
  opened: { 4: ['eth0'], 6: [] },
  forwards: [
    {
      publication: 'aaaaaaaaaaaa',
      protocol: 'tcp',
      hostIps: EVERYWHERE,
      ports: { first: 8080, last: 8080 },
      to: TO,
      toPorts: { first: 80, last: 80 },
    },
    {
      publication: 'bbbbbbbbbbbb',
      protocol: 'udp',
      hostIps: ['127.0.0.1'],
      ports: { first: 5353, last: 5353 },
      to: TO,
      toPorts: { first: 53, last: 53 },
    },
    {
      publication: 'cccccccccccc',
      protocol: 'tcp',
      hostIps: EVERYWHERE,
      ports: { first: 20000, last: 20999 },
      to: TO,
      toPorts: { first: 20000, last: 20999 },
    },
    {
      publication: 'dddddddddddd',
      protocol: 'sctp',
      hostIps: ['192.0.2.1'],
      ports: { first: 3868, last: 3869 },
      to: TO,
      toPorts: { first: 13868, last: 13869 },
    },
    {
      publication: 'eeeeeeeeeeee',
      protocol: 'tcp',
      hostIps: ['0.0.0.0'],
      ports: { first: 9000, last: 9001 },
      to: TO,
      toPorts: { first: 7000, last: 7001 },
    },
  ],
}

const lab = useLab()
let listing = ''

beforeAll(async () => {
  const { host, sh } = lab()
  await createNft(inNetns(host.path)).apply(replaceTable(EXAMPLE))
  listing = await sh(host, 'nft', 'list', 'table', 'inet', 'portctl')
})

test('the whole table', async () => {
  await expect(listing).toMatchFileSnapshot('golden/table.nft')
})

test('docs/nftables.md shows its chains', async () => {
  const doc = readFileSync(new URL('../../docs/nftables.md', import.meta.url), 'utf8')
  // Chains of IPv6 mirror those of IPv4.
  const chains = (listing.match(/^\tchain \w+ \{\n(?:\t\t.*\n)+\t\}$/gm) ?? [])
    .filter(chain => !/^\tchain \w+6 /.test(chain))
    .map(chain => chain.replace(/^\t/gm, '').replaceAll('\t', '    '))
  expect(chains.length).toBeGreaterThan(10)
  const shown = doc.replace(
    /(<!-- chains -->\n```nft\n)[^`]*(```)/,
    (_, start: string, end: string) => `${start}${chains.join('\n\n')}\n${end}`,
  )
  await expect(shown).toMatchFileSnapshot('../../docs/nftables.md')
})
