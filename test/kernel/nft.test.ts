import { describe, expect, test } from 'vitest'
import { createFakeNft } from '../../src/kernel/fake/nft.ts'
import { classifyNftError, createNft } from '../../src/kernel/nft.ts'
import { inNetns } from '../../src/kernel/process.ts'
import { useLab } from '../lab/hooks.ts'
import { nftConformance } from './nft.conformance.ts'

const lab = useLab()
const real = () => createNft(inNetns(lab().host.path))

describe('nft(8)', () => {
  nftConformance(real)

  test('element counters count what the kernel matched', async () => {
    const nft = real()
    const table = { family: 'inet', table: 'counted' } as const
    const chain = { family: 'inet', table: 'counted', name: 'output' }
    await nft.apply([
      { add: { table: { family: 'inet', name: 'counted' } } },
      {
        add: {
          set: {
            ...chain,
            name: 'ports',
            type: ['inet_proto', 'inet_service'],
            stmt: [{ counter: null }],
            elem: [{ concat: ['udp', 9] }, { concat: ['udp', 10] }],
          },
        },
      },
      { add: { chain: { ...chain, type: 'filter', hook: 'output', prio: 0, policy: 'accept' } } },
      {
        add: {
          rule: {
            family: 'inet',
            table: 'counted',
            chain: 'output',
            expr: [
              {
                match: {
                  op: '==',
                  left: {
                    concat: [{ meta: { key: 'l4proto' } }, { payload: { protocol: 'th', field: 'dport' } }],
                  },
                  right: '@ports',
                },
              },
            ],
          },
        },
      },
    ])
    await lab()
      .ask(lab().host, { protocol: 'udp', host: '127.0.0.1', port: 9, payload: '12345', timeout: 50 })
      .catch(() => undefined)
    const [listing] = await nft.listSets(table, [{ name: 'ports', kind: 'set' }])
    const counted = (port: number, packets: number, bytes: number) => ({
      elem: { val: { concat: ['udp', port] }, counter: { packets, bytes } },
    })
    expect(listing?.set).toMatchObject({ elem: [counted(9, 1, 33), counted(10, 0, 0)] })
  })

  test('overlapping intervals are refused as existing', async () => {
    const nft = real()
    const map = { family: 'inet', table: 'ranges', name: 'm' }
    const range = (from: number, to: number, address: string) => [
      { concat: [{ prefix: { addr: '0.0.0.0', len: 0 } }, { range: [from, to] }] },
      address,
    ]
    await nft.apply([
      { add: { table: { family: 'inet', name: 'ranges' } } },
      {
        add: {
          map: {
            ...map,
            type: ['ipv4_addr', 'inet_service'],
            map: 'ipv4_addr',
            flags: ['interval'],
            elem: [range(80, 90, '10.0.0.1')],
          },
        },
      },
    ])
    const overlapping = { add: { element: { ...map, elem: [range(85, 95, '10.0.0.2')] } } }
    await expect(nft.apply([overlapping])).rejects.toMatchObject({ code: 'nft-exists' })
    const [listing] = await nft.listSets({ family: 'inet', table: 'ranges' }, [{ name: 'm', kind: 'map' }])
    expect(listing?.map).toMatchObject({ elem: { length: 1 } })
  })

  test('a machine without nft says so', async () => {
    const nft = createNft((_command, args, options) => inNetns(lab().host.path)('no-such-nft', args, options))
    await expect(nft.probe()).rejects.toMatchObject({ code: 'tool-missing' })
  })
})

describe('the fake', () => {
  nftConformance(createFakeNft)

  test('counts and breaks on demand', async () => {
    const nft = createFakeNft()
    const set = { family: 'inet', table: 't', name: 's', type: 'inet_service', stmt: [{ counter: null }] }
    await nft.apply([
      { add: { table: { family: 'inet', name: 't' } } },
      { add: { set: { ...set, elem: [80] } } },
    ])
    nft.count({ family: 'inet', table: 't' }, 's', 80, 2, 100)
    expect(await nft.listSets({ family: 'inet', table: 't' }, [{ name: 's', kind: 'set' }])).toEqual([
      { set: { ...set, elem: [{ elem: { val: 80, counter: { packets: 2, bytes: 100 } } }] } },
    ])
    nft.break(classifyNftError('Operation not permitted (you must be root)'))
    await expect(nft.probe()).rejects.toMatchObject({ code: 'nft-denied' })
  })
})

test.each([
  ['internal:0:0-0: Error: Could not process rule: File exists\n\n', 'nft-exists', 'File exists'],
  ['Error: No such file or directory\nlist table inet x\n', 'nft-not-found', 'No such file or directory'],
  [
    'Operation not permitted (you must be root)\nnetlink: Error: cache initialization failed: Operation not permitted\n',
    'nft-denied',
    'Operation not permitted (you must be root)',
  ],
  ['internal:0:0-0: Error: Parsing command array at index 0 failed.', 'nft-failed', 'Parsing command array'],
  ['internal:0:0-0: Error: Could not process rule: Device or resource busy', 'nft-failed', 'busy'],
  ['', 'nft-failed', 'no reason'],
])('%j is %s', (stderr, code, words) => {
  const error = classifyNftError(stderr)
  expect(error.code).toBe(code)
  expect(error.message).toContain(words)
  expect(error.message).not.toContain('internal:0')
})
