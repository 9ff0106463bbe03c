/** Upkeep asks every few seconds whether the table is whole: it must not be read unless somebody changed the ruleset. */
import { expect, test, vi } from 'vitest'
import { Table } from '../../src/daemon/table.ts'
import { createFakeNft } from '../../src/kernel/fake/nft.ts'
import { CHAINS } from '../../src/plan/chains.ts'
import type { Operation } from '../../src/plan/index.ts'
import { TABLE } from '../../src/plan/nftables.ts'

type AddForward = Extract<Operation, { op: 'add-forward' }>

const publish = (port: number): AddForward => ({
  op: 'add-forward',
  forward: {
    publication: `${port}`,
    protocol: 'tcp',
    hostIps: ['0.0.0.0'],
    ports: { first: port, last: port },
    to: { 4: '172.17.0.2' },
    toPorts: { first: 80, last: 80 },
  },
})
const flushGuard = { flush: { chain: { ...TABLE, table: TABLE.name, name: 'guard' } } }

test('is listed only after somebody else has changed the ruleset, and revived then', async () => {
  const nft = createFakeNft()
  const listings = vi.spyOn(nft, 'listOutline')
  const table = new Table(nft)
  await table.apply([publish(8080)])
  expect(await table.revive()).toBe(false)
  expect(listings).toHaveBeenCalledTimes(1)
  await table.apply([publish(8081)])
  await table.revive()
  expect(listings).toHaveBeenCalledTimes(1)

  await nft.apply([{ add: { table: { family: 'inet', name: 'of_somebody_else' } } }])
  expect(await table.revive()).toBe(false)
  expect(listings).toHaveBeenCalledTimes(2)
  expect(await table.revive()).toBe(false)
  expect(listings).toHaveBeenCalledTimes(2)

  await nft.apply([flushGuard])
  expect(await table.revive()).toBe(true)
  const rules = async () =>
    (await nft.listTable({ family: 'inet', table: 'portctl' }))?.filter(
      object => (object.rule as { chain?: string } | undefined)?.chain === 'guard',
    ).length
  expect(await rules()).toBe(CHAINS.find(({ name }) => name === 'guard')?.rules.length)
})

test('a change of somebody else beside one of ours is noticed', async () => {
  const nft = createFakeNft()
  const table = new Table(nft)
  await table.apply([publish(8080)])
  await table.revive()
  await nft.apply([flushGuard])
  await table.apply([publish(8081)])
  expect(await table.revive()).toBe(true)
})

const range = (length: number, toFirst: number): AddForward => ({
  op: 'add-forward',
  forward: {
    ...publish(20_000).forward,
    ports: { first: 20_000, last: 20_000 + length - 1 },
    toPorts: { first: toFirst, last: toFirst + length - 1 },
  },
})

test.each([
  ['nothing', [], { whole: 0, sets: 0 }],
  ['a port', [publish(8080)], { whole: 1, sets: 0 }],
  ['3,001 ports', Array.from({ length: 3_001 }, (_, i) => publish(10_000 + i)), { whole: 0, sets: 1 }],
  ['a range of 4,000 that keeps its numbers, one element', [range(4_000, 20_000)], { whole: 1, sets: 0 }],
  ['a range of 4,000 that is shifted, an element each', [range(4_000, 30_000)], { whole: 0, sets: 1 }],
] as const)('counters of %s are read from the whole table, or set by set', async (_, operations, calls) => {
  const nft = createFakeNft()
  const [whole, sets] = [vi.spyOn(nft, 'listTable'), vi.spyOn(nft, 'listSets')]
  const table = new Table(nft)
  await table.apply(operations)
  const counted = await table.traffic()
  expect([...counted.keys()]).toEqual(operations.map(({ forward }) => forward.publication))
  expect({ whole: whole.mock.calls.length, sets: sets.mock.calls.length }).toEqual(calls)
})
