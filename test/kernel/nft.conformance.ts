/** What every Nft does: the real one and the fake run the same tests. */
import { beforeEach, expect, test } from 'vitest'
import type { JsonObject, Nft, NftCommand } from '../../src/kernel/nft.ts'

const ref = { family: 'inet', table: 'conformance' } as const
const table: NftCommand = { table: { family: 'inet', name: 'conformance' } }
const at = (name: string) => ({ ...ref, name })

const key = (port: number) => ({ concat: ['tcp', port] })

const MAP: NftCommand = {
  add: {
    map: {
      ...at('targets'),
      type: ['inet_proto', 'inet_service'],
      map: 'ipv4_addr',
      stmt: [{ counter: null }],
    },
  },
}
const SET: NftCommand = { add: { set: { ...at('bridges'), type: 'ifname' } } }
const mapElement = (port: number, address: string) => ({
  element: { ...at('targets'), elem: [[{ elem: { val: key(port), comment: 'owner' } }, address]] },
})
const setElement = (name: string) => ({ element: { ...at('bridges'), elem: [name] } })

export const nftConformance = (make: () => Nft): void => {
  let nft: Nft
  /** `elem` of a set or map as listed; undefined when it has none. */
  const elements = async (name: string, kind: 'set' | 'map') => {
    const [object] = await nft.listSets(ref, [{ name, kind }])
    return (object as Record<string, JsonObject>)[kind]?.elem
  }
  const targets = () => elements('targets', 'map')
  const bridges = () => elements('bridges', 'set')
  const listed = (port: number, address: string) => [
    { elem: { val: key(port), comment: 'owner', counter: { packets: 0, bytes: 0 } } },
    address,
  ]

  beforeEach(async () => {
    nft = make()
    await nft.apply([{ add: table }, { delete: table }, { add: table }, MAP, SET])
  })

  test('can be used here', async () => {
    await expect(nft.probe()).resolves.toBeUndefined()
  })

  test('lists nothing of what is not there', async () => {
    expect(await nft.listTable({ family: 'inet', table: 'absent' })).toBeNull()
    expect(await nft.listSets(ref, [{ name: 'absent', kind: 'set' }])).toEqual([])
    // A map is no set.
    expect(await nft.listSets(ref, [{ name: 'targets', kind: 'set' }])).toEqual([])
    expect(await bridges()).toBeUndefined()
  })

  test('holds what was added, with counters where they were asked for', async () => {
    await nft.apply([{ add: mapElement(80, '10.0.0.1') }, { add: setElement('portctl0') }])
    expect(await targets()).toEqual([listed(80, '10.0.0.1')])
    expect(await bridges()).toEqual(['portctl0'])
    const listing = await nft.listTable(ref)
    expect(listing?.map(object => Object.keys(object)[0])).toEqual(['table', 'map', 'set'])
  })

  test('an outline has everything but the elements', async () => {
    expect(await nft.listOutline({ family: 'inet', table: 'absent' })).toBeNull()
    await nft.apply([{ add: mapElement(80, '10.0.0.1') }, { add: setElement('portctl0') }])
    const outline = (await nft.listOutline(ref)) ?? []
    expect(outline.map(object => Object.keys(object)[0])).toEqual(['table', 'map', 'set'])
    expect(JSON.stringify(outline)).not.toContain('10.0.0.1')
    expect(JSON.stringify(outline)).not.toContain('portctl0')
  })

  test('adding the same again is no error, another value under the same key is', async () => {
    await nft.apply([{ add: mapElement(80, '10.0.0.1') }, { add: setElement('portctl0') }])
    await nft.apply([{ add: mapElement(80, '10.0.0.1') }, { add: setElement('portctl0') }, { add: table }])
    await expect(nft.apply([{ add: mapElement(80, '10.0.0.2') }])).rejects.toMatchObject({
      code: 'nft-exists',
    })
    await expect(nft.apply([{ create: table }])).rejects.toMatchObject({ code: 'nft-exists' })
  })

  test('deletes by key, and only what is there', async () => {
    await nft.apply([{ add: mapElement(80, '10.0.0.1') }, { add: mapElement(81, '10.0.0.1') }])
    await nft.apply([{ delete: { element: { ...at('targets'), elem: [key(80)] } } }])
    expect(await targets()).toEqual([listed(81, '10.0.0.1')])
    await expect(
      nft.apply([{ delete: { element: { ...at('targets'), elem: [key(80)] } } }]),
    ).rejects.toMatchObject({
      code: 'nft-not-found',
    })
    await expect(
      nft.apply([{ delete: { table: { family: 'inet', name: 'absent' } } }]),
    ).rejects.toMatchObject({
      code: 'nft-not-found',
    })
  })

  test('replaces a value by deleting and adding in one transaction', async () => {
    await nft.apply([{ add: mapElement(80, '10.0.0.1') }])
    await nft.apply([{ delete: mapElement(80, '10.0.0.1') }, { add: mapElement(80, '10.0.0.2') }])
    expect(await targets()).toEqual([listed(80, '10.0.0.2')])
  })

  test('a transaction that fails at its end changes nothing', async () => {
    await nft.apply([{ add: setElement('portctl0') }])
    const commands: readonly NftCommand[] = [
      { add: setElement('portctl1') },
      { add: mapElement(80, '10.0.0.1') },
      { delete: setElement('absent') },
    ]
    await expect(nft.apply(commands)).rejects.toMatchObject({ code: 'nft-not-found' })
    expect(await bridges()).toEqual(['portctl0'])
    expect(await targets()).toBeUndefined()
  })

  test('a command that makes no sense is refused, and so is all beside it', async () => {
    await expect(nft.apply([{ add: setElement('portctl0') }, { bogus: {} }])).rejects.toMatchObject({
      code: 'nft-failed',
    })
    expect(await bridges()).toBeUndefined()
  })

  test('flushes a set', async () => {
    await nft.apply([{ add: setElement('a') }, { add: setElement('b') }])
    await nft.apply([{ flush: { set: at('bridges') } }])
    expect(await bridges()).toBeUndefined()
  })
}

/** For an Nft whose generation can be had. */
export const generationConformance = (make: () => Nft): void => {
  test('the generation rises by one with each transaction, and not with a listing or a refusal', async () => {
    const nft = make()
    await nft.apply([{ add: table }, { delete: table }, { add: table }, MAP, SET])
    const first = (await nft.generation()) as number
    expect(first).toEqual(expect.any(Number))
    await nft.listTable(ref)
    await expect(nft.apply([{ delete: setElement('absent') }])).rejects.toThrow()
    expect(await nft.generation()).toBe(first)
    await nft.apply([{ add: setElement('portctl0') }, { add: mapElement(80, '10.0.0.1') }])
    expect(await nft.generation()).toBe(first + 1)
    await nft.apply([{ delete: setElement('portctl0') }])
    expect(await nft.generation()).toBe(first + 2)
  })
}
