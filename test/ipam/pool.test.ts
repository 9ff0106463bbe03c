import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Cidr, contains, formatCidr, overlaps, parseCidr } from '../../src/core/address.ts'
import { choosePool, choosePool6 } from '../../src/ipam/index.ts'

const blocks = (...texts: string[]): readonly Cidr[] => texts.map(parseCidr)

describe('choosePool', () => {
  test.each([
    ['nothing occupied', [], '172.17.0.0/16'],
    ['docker is there', ['172.17.0.0/16'], '172.18.0.0/16'],
    ['a host route inside', ['172.17.3.4/32'], '172.18.0.0/16'],
    ['a route around', ['172.16.0.0/14'], '172.20.0.0/16'],
    [
      'only 172.16 left',
      ['172.17.0.0/16', '172.18.0.0/15', '172.20.0.0/14', '172.24.0.0/13'],
      '172.16.0.0/16',
    ],
    ['172.16/12 routed', ['172.16.0.0/12'], '10.0.0.0/16'],
    ['the lower half of 10/8 too', ['172.16.0.0/12', '10.0.0.0/9'], '10.128.0.0/16'],
    ['other families and networks', ['192.168.0.0/16', 'fd00::/8'], '172.17.0.0/16'],
  ])('%s', (_, occupied, expected) => {
    expect(formatCidr(choosePool(blocks(...occupied)))).toBe(expected)
  })

  test('says so when everything is occupied', () => {
    expect(() => choosePool(blocks('172.16.0.0/12', '10.0.0.0/8'))).toThrow(
      expect.objectContaining({ code: 'no-free-pool' }),
    )
  })

  const block4 = fc
    .tuple(fc.constantFrom(0xac100000, 0x0a000000), fc.nat(0xffffff), fc.integer({ min: 10, max: 32 }))
    .map(([base, offset, prefix]): Cidr => {
      const bits = BigInt(32 - prefix)
      return { family: 4, base: (BigInt(base + (offset % 0x100000)) >> bits) << bits, prefix }
    })

  test('never overlaps what is occupied', () => {
    fc.assert(
      fc.property(fc.array(block4, { maxLength: 20 }), occupied => {
        const pool = choosePool(occupied)
        return occupied.every(block => !overlaps(pool, block))
      }),
    )
  })
})

describe('choosePool6', () => {
  test('a /64 of fd00::/8 with subnet id 0, different each time', () => {
    const pools = Array.from({ length: 20 }, () => choosePool6([]))
    for (const pool of pools) {
      expect(pool.prefix).toBe(64)
      expect(contains(parseCidr('fd00::/8'), formatCidr(pool).replace('/64', ''))).toBe(true)
      expect((pool.base >> 64n) & 0xffffn).toBe(0n)
    }
    expect(new Set(pools.map(formatCidr)).size).toBe(20)
  })

  test('tries again when the id it drew is occupied, and gives up when all are', () => {
    const ids = [Buffer.from('0000000001', 'hex'), Buffer.from('0000000002', 'hex')]
    const pool = choosePool6(blocks('fd00:0:1::/48'), () => ids.shift() as Buffer)
    expect(formatCidr(pool)).toBe('fd00:0:2::/64')
    expect(() => choosePool6(blocks('fd00::/8'))).toThrow(expect.objectContaining({ code: 'no-free-pool' }))
  })
})
