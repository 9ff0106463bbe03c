import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addressFromBigint,
  addressToBigint,
  cidrOf,
  cidrSize,
  contains,
  type Family,
  familyOf,
  formatCidr,
  isLoopback,
  isWildcard,
  overlaps,
  parseAddress,
  parseCidr,
  parseInterfaceAddress,
  tryAddress,
  wildcard,
} from '../../src/core/address.ts'

const widths = { 4: 32n, 6: 128n } as const

const family = fc.constantFrom<Family>(4, 6)
/** IPv4-mapped values are IPv4 addresses, so they are no IPv6 ones. */
const value = (f: Family) =>
  fc.bigInt({ min: 0n, max: 2n ** widths[f] - 1n }).filter(v => f === 4 || v >> 32n !== 0xffffn)
const address = family.chain(f => value(f).map(v => addressFromBigint(f, v)))
const cidr = address.chain(a =>
  fc.integer({ min: 0, max: familyOf(a) === 4 ? 32 : 128 }).map(prefix => cidrOf(a, prefix)),
)

describe('addresses', () => {
  it.each([
    ['10.0.0.5', '10.0.0.5'],
    ['::', '::'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['::ffff:7f00:1', '127.0.0.1'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ])('%s is written %s', (text, canonical) => {
    expect(parseAddress(text)).toBe(canonical)
  })

  it.each([
    '',
    '127.1',
    '010.0.0.1',
    '0x7f.0.0.1',
    '1.2.3.256',
    'fe80::1%eth0',
    '[::1]',
    'localhost',
    '1::2::3',
    ' ::1',
  ])('refuses %j', text => {
    expect(tryAddress(text)).toBeNull()
    expect(() => parseAddress(text)).toThrow(expect.objectContaining({ code: 'address-invalid' }))
  })

  it('text and number are inverse', () => {
    fc.assert(
      fc.property(address, a => {
        expect(parseAddress(a)).toBe(a)
        expect(addressFromBigint(familyOf(a), addressToBigint(a))).toBe(a)
      }),
    )
  })

  it('knows wildcards and loopback', () => {
    expect([wildcard(4), wildcard(6), '::1', '10.0.0.0'].map(isWildcard)).toEqual([true, true, false, false])
    expect(['127.0.0.1', '127.9.9.9', '::1', '12.7.0.1', '::'].map(isLoopback)).toEqual([
      true,
      true,
      true,
      false,
      false,
    ])
  })
})

describe('blocks', () => {
  it('text and block are inverse', () => {
    fc.assert(
      fc.property(cidr, block => {
        expect(parseCidr(formatCidr(block))).toEqual(block)
      }),
    )
  })

  it('contains exactly base … base + size - 1', () => {
    fc.assert(
      fc.property(cidr, address, (block, a) => {
        const n = addressToBigint(a)
        const inside = familyOf(a) === block.family && n >= block.base && n < block.base + cidrSize(block)
        expect(contains(block, a)).toBe(inside)
      }),
    )
  })

  it('overlap is containment of one base in the other, both ways', () => {
    const near = fc
      .tuple(fc.nat(255), fc.integer({ min: 24, max: 32 }))
      .map(([n, p]) => cidrOf(`10.0.0.${n}`, p))
    fc.assert(
      fc.property(fc.oneof(near, cidr), fc.oneof(near, cidr), (a, b) => {
        const holds = (outer: typeof a, inner: typeof a) =>
          contains(outer, addressFromBigint(inner.family, inner.base))
        expect(overlaps(a, b)).toBe(holds(a, b) || holds(b, a))
        expect(overlaps(b, a)).toBe(overlaps(a, b))
      }),
    )
  })

  it.each([
    ['10.0.0.0', 'no prefix length'],
    ['10.0.0.0/33', 'between 0 and 32'],
    ['fd00::/129', 'between 0 and 128'],
    ['10.0.0.0/', 'between 0 and 32'],
    ['10.0.0.0/-1', 'between 0 and 32'],
    ['x/24', 'no IP address'],
    ['/24', 'no IP address'],
    ['10.0.0.1/24', 'the network is 10.0.0.0/24'],
  ])('refuses %s', (text, why) => {
    expect(() => parseCidr(text)).toThrow(
      expect.objectContaining({ code: 'cidr-invalid', message: expect.stringContaining(why) }),
    )
  })

  it('an interface address keeps its host bits', () => {
    expect(parseInterfaceAddress('172.18.0.2/16')).toEqual({ address: '172.18.0.2', prefix: 16 })
    expect(parseInterfaceAddress('FD00::0002/64')).toEqual({ address: 'fd00::2', prefix: 64 })
  })
})
