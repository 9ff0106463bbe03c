import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Address,
  addressToBigint,
  cidrSize,
  contains,
  parseAddress,
  parseCidr,
} from '../../src/core/address.ts'
import { allocate, gatewayOf, macFromIpv4 } from '../../src/ipam/index.ts'

const pool = parseCidr('172.17.0.0/16')
const small = parseCidr('10.0.0.0/29')
const NONE: ReadonlySet<string> = new Set()
const a = parseAddress

describe('allocate', () => {
  test.each([
    ['the first after the gateway', pool, [], null, '172.17.0.2'],
    ['after the cursor, not the lowest free', pool, ['172.17.0.9'], '172.17.0.9', '172.17.0.10'],
    ['over what is taken', pool, ['172.17.0.3', '172.17.0.4'], '172.17.0.2', '172.17.0.5'],
    ['wraps before the broadcast address', small, ['10.0.0.2'], '10.0.0.6', '10.0.0.3'],
    ['a cursor of another pool counts as none', pool, [], '10.0.0.4', '172.17.0.2'],
    ['a cursor on the network address', small, [], '10.0.0.0', '10.0.0.6'],
    ['IPv6', parseCidr('fd00:1::/64'), ['fd00:1::2'], 'fd00:1::2', 'fd00:1::3'],
    ['IPv6 has no broadcast address', parseCidr('fd00:1::/126'), ['fd00:1::2'], 'fd00:1::2', 'fd00:1::3'],
  ] as const)('%s', (_, from, taken, cursor, expected) => {
    expect(allocate(from, new Set<string>(taken), cursor === null ? null : a(cursor))).toBe(expected)
  })

  test.each([
    ['10.0.0.3', 'address-taken', /10\.0\.0\.3 is already in use in 10\.0\.0\.0\/29/],
    ['10.0.0.0', 'address-out-of-range', /network's own/],
    ['10.0.0.1', 'address-out-of-range', /gateway/],
    ['10.0.0.7', 'address-out-of-range', /broadcast/],
    ['10.0.0.8', 'address-out-of-range', /outside/],
    ['fd00::2', 'address-out-of-range', /outside/],
  ])('refuses %s when asked for it', (requested, code, message) => {
    expect(() => allocate(small, new Set(['10.0.0.3']), null, a(requested))).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })

  test('gives what was asked for when it is free', () => {
    expect(allocate(small, NONE, a('10.0.0.5'), a('10.0.0.2'))).toBe('10.0.0.2')
  })

  test('hands out every address once, then is exhausted; only a freed one comes back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 24, max: 30 }), fc.infiniteStream(fc.nat()), (prefix, random) => {
        const block = parseCidr(`10.1.2.0/${prefix}`)
        const usable = Number(cidrSize(block)) - 3
        const taken = new Set<string>()
        let cursor: Address | null = null
        for (let i = 0; i < usable; i++) {
          cursor = allocate(block, taken, cursor)
          expect(taken.has(cursor)).toBe(false)
          expect(contains(block, cursor) && cursor !== gatewayOf(block)).toBe(true)
          taken.add(cursor)
        }
        expect(() => allocate(block, taken, cursor)).toThrow(
          expect.objectContaining({ code: 'pool-exhausted' }),
        )
        const all = [...taken]
        const freed = all[(random.next().value as number) % all.length] as string
        taken.delete(freed)
        expect(allocate(block, taken, cursor)).toBe(freed)
      }),
      { numRuns: 30 },
    )
  })

  test('is next-fit: the distance from the cursor, going up and around, is the least there is', () => {
    const hosts = fc.integer({ min: 2, max: 14 })
    const block = parseCidr('10.1.2.0/28')
    fc.assert(
      fc.property(fc.uniqueArray(hosts, { maxLength: 12 }), hosts, (numbers, from) => {
        const at = (n: number): Address => a(`10.1.2.${n}`)
        const taken = new Set<string>(numbers.map(at))
        const got = Number(addressToBigint(allocate(block, taken, at(from))) - block.base)
        for (let n = from; ; ) {
          n = n === 14 ? 2 : n + 1
          if (!taken.has(at(n))) return got === n
        }
      }),
    )
  })
})

test('a MAC address goes with the IPv4 address', () => {
  expect(macFromIpv4('172.17.0.2')).toBe('02:42:ac:11:00:02')
})
