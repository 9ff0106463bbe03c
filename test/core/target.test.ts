import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PortctlError } from '../../src/core/errors.ts'
import { parseName } from '../../src/core/name.ts'
import { formatTarget, parseTarget } from '../../src/core/target.ts'

describe('parseTarget', () => {
  it.each([
    ['web', { kind: 'container', name: 'web' }, 'web'],
    ['10.0.0.5', { kind: 'address', address: '10.0.0.5' }, '10.0.0.5'],
    ['[FD00::5]', { kind: 'address', address: 'fd00::5' }, '[fd00::5]'],
    ['fd00::5', { kind: 'address', address: 'fd00::5' }, '[fd00::5]'],
    ['[::ffff:10.0.0.5]', { kind: 'address', address: '10.0.0.5' }, '10.0.0.5'],
    ['pid:1234', { kind: 'pid', pid: 1234 }, 'pid:1234'],
    ['netns:blue', { kind: 'netns', path: '/run/netns/blue', name: 'blue' }, 'netns:blue'],
    ['netns:/proc/7/ns/net', { kind: 'netns', path: '/proc/7/ns/net' }, 'netns:/proc/7/ns/net'],
  ])('%s', (text, target, canonical) => {
    expect(parseTarget(text)).toEqual(target)
    expect(formatTarget(parseTarget(text))).toBe(canonical)
  })

  it.each([
    ['', 'not a container name'],
    ['-x', 'not a container name'],
    ['127.1', undefined],
    ['0.0.0.0', 'it stands for every address'],
    ['[::]', 'it stands for every address'],
    ['[fe80::1%eth0]', 'not an address'],
    ['pid:', 'wants a process id'],
    ['pid:0', 'wants a process id'],
    ['pid:-4', 'wants a process id'],
    ['pid:4194305', 'wants a process id'],
    ['netns:', 'wants a name'],
    ['netns:..', 'wants a name'],
    ['netns:a/b', 'wants a name'],
    ['netns:/a\0b', 'zero byte'],
    ['ftp:x', 'not an address, pid:N'],
    ['10.0.0.5:80', 'not an address'],
  ])('%j', (text, why) => {
    if (why === undefined) expect(parseTarget(text)).toMatchObject({ kind: 'container' })
    else
      expect(() => parseTarget(text)).toThrow(
        expect.objectContaining({ code: 'target-invalid', message: expect.stringContaining(why) }),
      )
  })

  it('prints what parses back, and throws nothing but PortctlError', () => {
    const targetish = fc.string({
      unit: fc.constantFrom('pid:', 'netns:', '/', '[', ']', ':', '.', '1', '0', 'a', '-', '%'),
    })
    fc.assert(
      fc.property(fc.oneof(fc.string(), targetish), text => {
        try {
          const target = parseTarget(text)
          expect(parseTarget(formatTarget(target))).toEqual(target)
        } catch (error) {
          expect(error).toBeInstanceOf(PortctlError)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('parseName', () => {
  it.each(['a', 'web', 'Web_1.2-3', '7', 'x'.repeat(63)])('%s', text => {
    expect(parseName(text)).toBe(text)
  })

  it.each(['', '-a', '.', '..', 'a/b', 'a b', 'ä', 'a\n', '10.0.0.5', 'x'.repeat(64)])('refuses %j', text => {
    expect(() => parseName(text)).toThrow(expect.objectContaining({ code: 'name-invalid' }))
  })
})
