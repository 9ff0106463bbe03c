import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addressFromBigint } from '../../src/core/address.ts'
import { PortctlError } from '../../src/core/errors.ts'
import { formatPublishSpec, type PublishSpec, parsePublishSpec } from '../../src/core/spec.ts'

/** `hostIp hostPorts targetPorts protocol pick`, `*` for null. */
const summary = (spec: PublishSpec): string =>
  [
    spec.hostIp ?? '*',
    spec.hostPorts === null ? '*' : `${spec.hostPorts.first}-${spec.hostPorts.last}`,
    `${spec.targetPorts.first}-${spec.targetPorts.last}`,
    spec.protocol,
    spec.pick,
  ].join(' ')

/** What docker accepts, row for row of the grammar of `docker run -p`. */
const ACCEPTED: readonly (readonly [text: string, meaning: string, canonical: string])[] = [
  ['80', '* * 80-80 tcp ephemeral', '80'],
  ['80/', '* * 80-80 tcp ephemeral', '80'],
  ['80/UDP', '* * 80-80 udp ephemeral', '80/udp'],
  ['80/sctp', '* * 80-80 sctp ephemeral', '80/sctp'],
  [':80', '* * 80-80 tcp ephemeral', '80'],
  ['::6000', '* * 6000-6000 tcp ephemeral', '6000'],
  ['8080:80', '* 8080-8080 80-80 tcp one-to-one', '8080:80'],
  ['0080:80', '* 80-80 80-80 tcp one-to-one', '80:80'],
  ['+80', '* * 80-80 tcp ephemeral', '80'],
  ['0:80', '* * 80-80 tcp ephemeral', '80'],
  ['127.0.0.1::80', '127.0.0.1 * 80-80 tcp ephemeral', '127.0.0.1::80'],
  ['[::]::80', ':: * 80-80 tcp ephemeral', '[::]::80'],
  ['127.0.0.1:8080:80', '127.0.0.1 8080-8080 80-80 tcp one-to-one', '127.0.0.1:8080:80'],
  ['[::1]:8080:80', '::1 8080-8080 80-80 tcp one-to-one', '[::1]:8080:80'],
  ['::1:8080:80', '::1 8080-8080 80-80 tcp one-to-one', '[::1]:8080:80'],
  ['::::80', ':: * 80-80 tcp ephemeral', '[::]::80'],
  ['[::ffff:127.0.0.1]:80:80', '127.0.0.1 80-80 80-80 tcp one-to-one', '127.0.0.1:80:80'],
  ['[2001:DB8:0::1]:53:53/udp', '2001:db8::1 53-53 53-53 udp one-to-one', '[2001:db8::1]:53:53/udp'],
  [':8080:80', '* 8080-8080 80-80 tcp one-to-one', '8080:80'],
  ['8000-8010:80', '* 8000-8010 80-80 tcp one-of-range', '8000-8010:80'],
  ['8000-8001:80-81', '* 8000-8001 80-81 tcp one-to-one', '8000-8001:80-81'],
  ['80-81', '* * 80-81 tcp ephemeral', '80-81'],
  ['127.0.0.1::80-81', '127.0.0.1 * 80-81 tcp ephemeral', '127.0.0.1::80-81'],
  ['8080-8080:80', '* 8080-8080 80-80 tcp one-to-one', '8080:80'],
  ['80-80:90-90', '* 80-80 90-90 tcp one-to-one', '80:90'],
  ['1-65535:1-65535', '* 1-65535 1-65535 tcp one-to-one', '1-65535:1-65535'],
  ['published=8080,target=80,protocol=udp', '* 8080-8080 80-80 udp one-to-one', '8080:80/udp'],
  ['target=80', '* * 80-80 tcp ephemeral', '80'],
  ['published=0,target=80', '* * 80-80 tcp ephemeral', '80'],
  [
    'target=80,published=8080,host_ip=127.0.0.1',
    '127.0.0.1 8080-8080 80-80 tcp one-to-one',
    '127.0.0.1:8080:80',
  ],
  ['published=8000-8009,target=80,host_ip=::1', '::1 8000-8009 80-80 tcp one-of-range', '[::1]:8000-8009:80'],
  ['published=80-81,target=90-91,host_ip=[::1]', '::1 80-81 90-91 tcp one-to-one', '[::1]:80-81:90-91'],
]

const REFUSED: readonly (readonly [text: string, part: string])[] = [
  ['8000-8002:80-81', 'ranges 8000-8002 and 80-81: 3 host port(s) for 2 target ports'],
  ['8000:80-81', 'ranges 8000 and 80-81: 1 host port(s) for 2 target ports'],
  ['127.0.0.1:80', "host port '127.0.0.1': not a port; to bind an address write 127.0.0.1:PORT"],
  ['192.168.1.100', "target port '192.168.1.100'"],
  ['[::1]:80', "host address '[::1]': write [::1]:PORT:TARGET-PORT"],
  ['[::1]', "host address '[::1]': write"],
  ['[::1:8080:80', "host address '[::1:8080:80': ']' is missing"],
  ['[]:8080:80', "host address '[]': not an IP address"],
  ['localhost:80:80', "host address 'localhost'"],
  ['eth0:80:80', "host address 'eth0'"],
  ['*:80:80', "host address '*'"],
  ['127.1:80:80', "host address '127.1'"],
  ['010.0.0.1:80:80', "host address '010.0.0.1'"],
  ['[fe80::1%eth0]:80:80', "host address '[fe80::1%eth0]'"],
  ['8080:', 'target port: missing'],
  ['', 'target port: missing'],
  ['/tcp', 'target port: missing'],
  ['8010-8000:80', "host port '8010-8000': the range ends before it starts"],
  ['70000:80', "host port '70000'"],
  ['-1:80', "host port '-1'"],
  ['8000-:80', "host port '8000-'"],
  ['8080/udp:80', "host port '8080/udp'"],
  ['80:70000', "target port '70000'"],
  [' 80', "target port ' 80'"],
  ['65536', "target port '65536'"],
  ['8080:80/http', "protocol 'http'"],
  ['80/tcp/udp', "protocol 'tcp/udp'"],
  ['8000-8010-8020:80', "host port '8000-8010-8020'"],
  ['80:0', "target port '0': nothing can listen on port 0"],
  ['0-3:80', "host port '0-3': a range cannot start at 0"],
  ['published=8080,target=80,mode=host', "key 'mode': unknown"],
  ['published=8080,target=80,x', "'x': not of the form key=value"],
  ['published=8080', 'target port: missing'],
  ['target=80,target=81', "key 'target': given twice"],
  ['target=80,host_ip=', "key 'host_ip': empty"],
  ['target=80,host_ip=eth0', "host address 'eth0'"],
  ['target=80,protocol=http', "protocol 'http'"],
]

const caught = (text: string): unknown => {
  try {
    parsePublishSpec(text)
  } catch (error) {
    return error
  }
  return undefined
}

describe('parsePublishSpec', () => {
  it.each(ACCEPTED)('%j', (text, meaning, canonical) => {
    const spec = parsePublishSpec(text)
    expect(summary(spec)).toBe(meaning)
    expect(formatPublishSpec(spec)).toBe(canonical)
  })

  it.each(REFUSED)('refuses %j', (text, part) => {
    const error = caught(text)
    expect(error).toBeInstanceOf(PortctlError)
    expect(error).toMatchObject({ code: 'spec-invalid', exit: 2 })
    expect((error as PortctlError).message).toContain(`'${text}': ${part}`)
  })

  it('throws nothing but PortctlError', () => {
    const grammarish = fc.string({
      unit: fc.constantFrom(...':/-[]=,.%+ 0189af\n', 'tcp', 'target=', 'host_ip='),
    })
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), grammarish), text => {
        const error = caught(text)
        expect(error === undefined || error instanceof PortctlError).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })
})

const port = fc.integer({ min: 1, max: 65_535 })
const range = fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }))
const address = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map(value => addressFromBigint(4, value)),
  fc
    .bigInt({ min: 0n, max: 2n ** 128n - 1n })
    .filter(v => v >> 32n !== 0xffffn)
    .map(v => addressFromBigint(6, v)),
)
const common = {
  hostIp: fc.option(address),
  protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const),
}
const spec: fc.Arbitrary<PublishSpec> = fc.oneof(
  fc.record({
    ...common,
    targetPorts: range,
    pick: fc.constant('ephemeral' as const),
    hostPorts: fc.constant(null),
  }),
  fc.record({ ...common, hostPorts: range, shift: fc.nat() }).map(({ hostPorts, shift, ...rest }) => {
    const first = 1 + (shift % (65_535 - (hostPorts.last - hostPorts.first)))
    const targetPorts = { first, last: first + hostPorts.last - hostPorts.first }
    return { ...rest, hostPorts, targetPorts, pick: 'one-to-one' as const }
  }),
  fc
    .record({ ...common, hostPorts: range.filter(r => r.first < r.last), target: port })
    .map(({ target, ...rest }) => ({
      ...rest,
      targetPorts: { first: target, last: target },
      pick: 'one-of-range' as const,
    })),
)

describe('formatPublishSpec', () => {
  it('is the inverse of parsePublishSpec', () => {
    fc.assert(
      fc.property(spec, value => {
        expect(parsePublishSpec(formatPublishSpec(value))).toEqual(value)
      }),
    )
  })
})
