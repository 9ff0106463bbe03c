import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { familyOf, isWildcard, type Protocol } from '../../src/core/address.ts'
import { createFakeNft } from '../../src/kernel/fake/nft.ts'
import { elementsOf } from '../../src/plan/elements.ts'
import { type Desired, type Forward, NOTHING } from '../../src/plan/index.ts'
import type { Json, JsonObject } from '../../src/plan/nftables.ts'
import { drift, readCounters, readTable, repair } from '../../src/plan/observed.ts'
import { diff, invert } from '../../src/plan/operations.ts'
import { commands, replaceTable } from '../../src/plan/ruleset.ts'
import { desired } from './desired.ts'

const TABLE = { family: 'inet', table: 'portctl' } as const
const NONE = { intact: true, missing: [], extra: [] }

const loaded = async (state: Desired) => {
  const nft = createFakeNft()
  await nft.apply(replaceTable(state))
  return { nft, drift: async (wanted: Desired) => drift(wanted, readTable(await nft.listTable(TABLE))) }
}

describe('transactions', () => {
  test('the whole table holds what is wanted, whatever stood there', async () => {
    await fc.assert(
      fc.asyncProperty(desired, desired, async (before, after) => {
        const table = await loaded(before)
        expect(await table.drift(before)).toEqual(NONE)
        await table.nft.apply(replaceTable(after))
        expect(await table.drift(after)).toEqual(NONE)
      }),
    )
  })

  test('a change leads from one table to the other, and its inverse back', async () => {
    await fc.assert(
      fc.asyncProperty(desired, desired, async (before, after) => {
        const table = await loaded(before)
        const operations = diff(before, after)
        await table.nft.apply(commands(operations))
        expect(await table.drift(after)).toEqual(NONE)
        await table.nft.apply(commands(operations.toReversed().map(invert)))
        expect(await table.drift(before)).toEqual(NONE)
      }),
    )
  })

  test('a change and its inverse in one transaction are none', () => {
    fc.assert(
      fc.property(desired, desired, (before, after) => {
        const operations = diff(before, after)
        expect(commands([...operations, ...operations.toReversed().map(invert)])).toEqual([])
      }),
    )
  })

  test('any table is repaired into any other', async () => {
    await fc.assert(
      fc.asyncProperty(desired, desired, async (there, wanted) => {
        const table = await loaded(there)
        await table.nft.apply(repair(wanted, await table.drift(wanted)))
        expect(await table.drift(wanted)).toEqual(NONE)
      }),
    )
  })

  test('a range that keeps its numbers is a handful of elements, however long', () => {
    const size = (last: number, shift: number) =>
      elementsOf({ ...NOTHING, forwards: [range(1024, last, shift)] }).length
    expect(size(61_000, 0)).toBe(size(1025, 0))
    expect(size(1033, 1)).toBe(size(1024 + 1, 1) + 8 * 2)
  })
})

const range = (first: number, last: number, shift: number): Forward => ({
  publication: '00000000000a',
  protocol: 'tcp',
  hostIps: ['0.0.0.0', '::'],
  ports: { first, last },
  to: { 4: '172.18.0.2', 6: 'fd00::2' },
  toPorts: { first: first + shift, last: last + shift },
})

describe('lookups', () => {
  const PROTOCOLS: readonly (readonly [Protocol, number])[] = [
    ['tcp', 6],
    ['udp', 17],
    ['sctp', 132],
  ]
  const ADDRESSES = ['127.0.0.1', '192.0.2.1', '198.51.100.9', '2001:db8::1', '2001:db8::9']

  const holds = (part: Json, value: Json): boolean => {
    const { range, prefix } = (typeof part === 'object' ? part : {}) as JsonObject
    if (Array.isArray(range)) return Number(range[0]) <= Number(value) && Number(value) <= Number(range[1])
    // The only prefixes in keys of forwards are those of length 0.
    return prefix !== undefined || part === value
  }

  /** What the rules of chain `dnat4` or `dnat6` do with a packet, in their order. */
  const translate = (state: Desired, address: string, protocol: number, port: number) => {
    const family = familyOf(address)
    const elements = elementsOf(state)
    const find = (set: string, key: readonly Json[]) => {
      const found = elements.filter(element => {
        const { concat = [] } = element.key as { readonly concat?: readonly Json[] }
        return element.set === `${set}${family}` && concat.every((part, i) => holds(part, key[i] ?? null))
      })
      expect(found.length).toBeLessThanOrEqual(1)
      return found[0]?.value
    }
    const any = [protocol, port]
    const one = [address, protocol, port]
    const rules: readonly (readonly [Json | undefined, Json | undefined])[] = [
      [find('dnat_any', any), find('port_any', any)],
      [find('dnat_addr', one), find('port_addr', one)],
      [find('dnat_range', one), port],
      [find('dnat_shift_any', any), find('port_any', any)],
      [find('dnat_shift_addr', one), find('port_addr', one)],
    ]
    return rules.filter(([to, toPort]) => to !== undefined && toPort !== undefined)
  }

  test('every published port leads where it should, by exactly one rule, and no other port anywhere', () => {
    fc.assert(
      fc.property(
        desired,
        fc.constantFrom(...ADDRESSES),
        fc.constantFrom(...PROTOCOLS),
        fc.integer({ min: 1020, max: 1090 }),
        (state, address, [protocol, number], port) => {
          const forward = state.forwards.find(
            ({ hostIps, ports, ...f }) =>
              f.protocol === protocol &&
              ports.first <= port &&
              port <= ports.last &&
              hostIps.some(ip => ip === address || (isWildcard(ip) && familyOf(ip) === familyOf(address))),
          )
          const to = forward?.to[familyOf(address)]
          const expected =
            forward === undefined || to === undefined
              ? []
              : [[to, forward.toPorts.first + port - forward.ports.first]]
          expect(translate(state, address, number, port)).toEqual(expected)
        },
      ),
      { numRuns: 1000 },
    )
  })
})

describe('guards', () => {
  test('whatever is bound to a loopback address is kept from other machines, translated or not', () => {
    for (const to of [{}, { 4: '172.18.0.2' }]) {
      const forward = { ...range(8000, 8009, 0), hostIps: ['127.0.0.1', '192.0.2.1'], to }
      expect(
        elementsOf({ ...NOTHING, forwards: [forward] }).filter(({ set }) => set === 'loopback4'),
      ).toEqual([{ set: 'loopback4', key: { concat: ['127.0.0.1', 6, { range: [8000, 8009] }] } }])
    }
  })
})

describe('counters', () => {
  test('add up over families and addresses', async () => {
    const forward = {
      ...range(8080, 8080, -8000),
      hostIps: ['0.0.0.0', '2001:db8::1'],
    }
    const { nft } = await loaded({ ...NOTHING, forwards: [forward] })
    const any = { concat: [6, 8080] }
    const one = { concat: ['2001:db8::1', 6, 8080] }
    nft.count(TABLE, 'dnat_any4', any, 2, 120)
    nft.count(TABLE, 'in_any4', any, 10, 1000)
    nft.count(TABLE, 'out_any4', any, 9, 9000)
    nft.count(TABLE, 'dnat_addr6', one, 1, 80)
    nft.count(TABLE, 'out_addr6', one, 1, 60)
    expect([...readCounters((await nft.listTable(TABLE)) ?? [])]).toEqual([
      ['00000000000a', { connections: 3, bytesIn: 1000, bytesOut: 9060 }],
    ])
  })

  test('keep going when only the target changes', async () => {
    const before = range(8080, 8080, 0)
    const after = { ...before, to: { 4: '172.18.0.9', 6: 'fd00::9' } }
    const { nft } = await loaded({ ...NOTHING, forwards: [before] })
    nft.count(TABLE, 'out_any4', { concat: [6, 8080] }, 1, 500)
    await nft.apply(commands(diff({ ...NOTHING, forwards: [before] }, { ...NOTHING, forwards: [after] })))
    expect(readCounters((await nft.listTable(TABLE)) ?? []).get('00000000000a')).toMatchObject({
      bytesOut: 500,
    })
  })
})

describe('reading back', () => {
  const table = { ...NOTHING, forwards: [range(8080, 8080, 0)] }

  test('no table is drift in everything', () => {
    const found = drift(table, readTable(null))
    expect(found.intact).toBe(false)
    expect(found.missing).toEqual(elementsOf(table))
    expect(repair(table, found)).toEqual(replaceTable(table))
  })

  test('protocols are the same by name and by number', () => {
    const listing = [
      { map: { name: 'port_any4', elem: [[{ concat: ['tcp', 8080] }, 8080]] } },
      {
        map: {
          name: 'dnat_range4',
          elem: [[{ concat: ['192.0.2.1', 'sctp', { range: [1, 2] }] }, '10.0.0.1']],
        },
      },
    ]
    expect(readTable(listing).elements).toMatchObject([
      { set: 'port_any4', key: { concat: [6, 8080] }, value: 8080 },
      { set: 'dnat_range4', key: { concat: ['192.0.2.1', 132, { range: [1, 2] }] }, value: '10.0.0.1' },
    ])
  })

  test('what is strange is carried along', () => {
    const listing = [
      { set: { name: 'in_any4', elem: [null, 7, { elem: 'x' }, { elem: { val: 'y', comment: 3 } }] } },
      { set: { name: 'unknown', elem: ['z'] } },
    ]
    expect(readTable(listing).elements.map(({ key }) => key)).toEqual([null, 7, { elem: 'x' }, 'y'])
    expect(drift(table, readTable(listing)).extra).toHaveLength(4)
  })
})
