/** Upkeep asks every few seconds whether the table is whole: it must not be read unless somebody changed the ruleset. */
import { expect, test, vi } from 'vitest'
import { Table } from '../../src/daemon/table.ts'
import { createFakeNft } from '../../src/kernel/fake/nft.ts'
import { CHAINS } from '../../src/plan/chains.ts'
import type { Operation } from '../../src/plan/index.ts'
import { TABLE } from '../../src/plan/nftables.ts'

const publish = (port: number): Extract<Operation, { op: 'add-forward' }> => ({
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

test('the counters of many are read from the sets that count them, each by itself', async () => {
  const nft = createFakeNft()
  const [whole, sets] = [vi.spyOn(nft, 'listTable'), vi.spyOn(nft, 'listSets')]
  const table = new Table(nft)
  const traffic = async () => [...(await table.traffic()).keys()].sort()
  expect(await traffic()).toEqual([])
  await table.apply([publish(8080)])
  expect(await traffic()).toEqual(['8080'])
  expect([whole.mock.calls.length, sets.mock.calls.length]).toEqual([1, 0])

  const many = Array.from({ length: 1_000 }, (_, i) => publish(10_000 + i))
  await table.apply(many)
  expect(await traffic()).toEqual([...many.map(({ forward }) => forward.publication), '8080'].sort())
  expect(whole).toHaveBeenCalledTimes(1)
  expect(sets.mock.calls[0]?.[1].map(({ name }) => name)).toEqual(['dnat_any4', 'in_any4', 'out_any4'])
})
