import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Change, openStore, type Store } from '../../src/daemon/store.ts'
import { type Disk, realDisk } from '../../src/daemon/store-disk.ts'
import type { Container, Network, Publication } from '../../src/model/index.ts'

const publication: Publication = {
  id: '0123456789ab',
  name: 'web',
  protocol: 'tcp',
  hostIps: ['0.0.0.0', '::'],
  hostPort: 8080,
  hostPortEnd: 8080,
  target: { kind: 'container', container: 'ba9876543210' },
  targetPort: 80,
  targetPortEnd: 80,
  via: 'auto',
}
const container: Container = {
  id: 'ba9876543210',
  name: 'web',
  netns: '/run/netns/web',
  pid: 42,
  pidStart: 12345,
  status: 'running',
  exitCode: null,
  command: ['sleep', '60'],
  autoRemove: false,
  endpoints: [
    {
      network: 'bridge',
      interfaceName: 'eth0',
      hostInterface: 'pct0123456',
      ipv4: '172.18.0.2/16',
      ipv6: null,
      mac: '02:42:ac:12:00:02',
    },
  ],
}
const network: Network = {
  id: 'fedcba987654',
  name: 'bridge',
  driver: 'bridge',
  bridge: 'portctl0',
  subnet4: '172.18.0.0/16',
  gateway4: '172.18.0.1',
  subnet6: null,
  gateway6: null,
}
const everything: Change[] = [
  { put: 'publications', id: publication.id, value: publication },
  { put: 'containers', id: container.id, value: container },
  { put: 'networks', id: network.id, value: network },
  { put: 'meta', id: 'opened', value: ['eth0', { cursor: 7, none: null }] },
]
const targets: Publication['target'][] = [
  { kind: 'address', address: 'fd00::5' },
  { kind: 'pid', pid: 1234, identity: 'boot:5678' },
  { kind: 'netns', path: '/run/netns/x' },
  { kind: 'netns', path: '/run/netns/x', name: 'x' },
]

let dir: string
let stores: Store[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'portctl-store-'))
  stores = []
})
afterEach(async () => {
  await Promise.all(stores.map(store => store.close()))
  rmSync(dir, { recursive: true })
})
const open = async (disk?: Disk): Promise<Store> => {
  const store = await openStore(dir, disk)
  stores.push(store)
  return store
}
const reopen = async (): Promise<Store> => {
  await stores.pop()?.close()
  return open()
}

describe('the store', () => {
  it('begins empty', async () => {
    const { state } = await open()
    expect(Object.values(state).map(map => map.size)).toEqual([0, 0, 0, 0])
  })

  it('keeps records of every kind', async () => {
    const store = await open()
    await store.commit(everything)
    const found = await reopen()
    expect(found.state).toEqual(store.state)
    expect(found.state.publications.get(publication.id)).toEqual(publication)
    expect(found.state.containers.get(container.id)).toEqual(container)
    expect(found.state.networks.get(network.id)).toEqual(network)
    expect(found.state.meta.get('opened')).toEqual(['eth0', { cursor: 7, none: null }])
  })

  it.each(targets)('keeps a target %j', async target => {
    const store = await open()
    await store.commit([{ put: 'publications', id: 'x', value: { ...publication, target } }])
    expect((await reopen()).state.publications.get('x')?.target).toEqual(target)
  })

  it('replaces and deletes', async () => {
    const store = await open()
    await store.commit(everything)
    await store.commit([
      { put: 'meta', id: 'opened', value: [] },
      { delete: 'publications', id: publication.id },
      { delete: 'publications', id: 'not there' },
    ])
    const { state } = await reopen()
    expect(state.meta.get('opened')).toEqual([])
    expect(state.publications.size).toBe(0)
    expect(state.containers.size).toBe(1)
  })

  it('shows a change no sooner than it is synced, and shares a sync among commits of the same time', async () => {
    const store: { current?: Store } = {}
    const seen: number[] = []
    const watched: Disk = {
      ...realDisk,
      open: async (path, truncate) => {
        const file = await realDisk.open(path, truncate)
        return {
          ...file,
          sync: async () => {
            if (store.current !== undefined) seen.push(store.current.state.meta.size)
            await file.sync()
          },
        }
      },
    }
    store.current = await open(watched)
    const { current } = store
    await Promise.all(
      Array.from({ length: 100 }, (_, n) => current.commit([{ put: 'meta', id: `${n}`, value: n }])),
    )
    expect(current.state.meta.size).toBe(100)
    expect(seen).toEqual([0])
  })

  it('stays small however often the same entries change', async () => {
    const store = await open()
    for (let round = 0; round < 30; round++) {
      await store.commit(
        Array.from({ length: 1000 }, (_, n) => ({ put: 'meta', id: `${n}`, value: round }) as const),
      )
    }
    const { state } = await reopen()
    expect(state.meta.size).toBe(1000)
    expect([...state.meta.values()].every(value => value === 29)).toBe(true)
    // A change is some 40 bytes; without compaction there would be 30,000 of them.
    expect(statSync(join(dir, 'journal')).size).toBeLessThan(9000 * 50)
    expect(readdirSync(dir)).toEqual(['journal'])
  })

  it('goes on after a torn record', async () => {
    const store = await open()
    await store.commit(everything)
    await stores.pop()?.close()
    const whole = readFileSync(join(dir, 'journal'))
    writeFileSync(join(dir, 'journal'), '000000ff 01234567 [{"put":"met', { flag: 'a' })
    const again = await open()
    expect(readFileSync(join(dir, 'journal'))).toEqual(whole)
    await again.commit([{ put: 'meta', id: 'later', value: true }])
    const { state } = await reopen()
    expect(state.publications.size).toBe(1)
    expect(state.meta.get('later')).toBe(true)
  })

  it('is readable by its owner only', async () => {
    await open()
    expect(statSync(join(dir, 'journal')).mode & 0o777).toBe(0o600)
  })

  it('takes nothing after it was closed', async () => {
    const store = await open()
    const last = store.commit(everything)
    await store.close()
    await last
    stores.pop()
    await expect(store.commit(everything)).rejects.toMatchObject({ code: 'state-write-failed' })
    expect((await open()).state.publications.size).toBe(1)
  })
})

describe('a damaged journal', () => {
  const journal = () => join(dir, 'journal')
  const damage = async (edit: (text: string) => string): Promise<void> => {
    const store = await open()
    await store.commit([{ put: 'networks', id: network.id, value: network }])
    await store.commit([{ put: 'meta', id: 'a', value: 1 }])
    await stores.pop()?.close()
    writeFileSync(journal(), edit(readFileSync(journal(), 'latin1')), 'latin1')
  }

  it.each([
    ['in the middle', (text: string) => text.replace('portctl0', 'portctl1')],
    ['in the last record', (text: string) => text.replace('"value":1', '"value":2')],
    ['at the start', (text: string) => text.slice(1)],
  ])('%s is refused with file and offset, and left as it is', async (_, edit) => {
    await damage(edit)
    const before = readFileSync(journal())
    await expect(open()).rejects.toMatchObject({
      code: 'state-corrupt',
      details: { file: journal(), offset: expect.any(Number) },
    })
    expect(readFileSync(journal())).toEqual(before)
  })

  it('that is empty, or of another format, is refused', async () => {
    writeFileSync(journal(), '')
    await expect(open()).rejects.toMatchObject({ code: 'state-corrupt', details: { offset: 0 } })
  })

  it('with values that the model does not allow is refused, the field named', async () => {
    const store = await open()
    await store.commit([{ put: 'publications', id: 'x', value: { ...publication, hostPort: 70_000 } }])
    await expect(reopen()).rejects.toMatchObject({
      code: 'state-corrupt',
      message: expect.stringContaining('hostPort'),
    })
  })
})

// A continuation of a commit may run in any microtask after it: whatever the writer is doing then, it must see what is
// committed from there.
it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
  'a commit made %i microtasks after another was acknowledged is written too',
  async delay => {
    const store = await openStore(dir)
    for (let round = 0; round < 3; round++) {
      await store.commit([{ put: 'meta', id: `first-${round}`, value: round }])
      for (let i = 0; i < delay; i++) await Promise.resolve()
      await store.commit([{ put: 'meta', id: `second-${round}`, value: round }])
    }
    expect(store.state.meta.size).toBe(6)
    await store.close()
    const again = await openStore(dir)
    expect(again.state.meta.size).toBe(6)
    await again.close()
  },
)
