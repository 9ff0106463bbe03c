import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Change, State, Store } from '../../src/daemon/store.ts'
import { openStore } from '../../src/daemon/store.ts'
import { type FaultDisk, type Faults, faultDisk, NO_FAULTS } from './fault-disk.ts'

const DIR = '/state'

/** Commit n makes `n` and `n'`, and takes back what commit n-3 made. */
const changesOf = (n: number): Change[] => [
  { put: 'meta', id: `${n}`, value: n },
  { delete: 'meta', id: `${n - 3}` },
  { put: 'meta', id: `${n}'`, value: [n, 'twin'] },
  { delete: 'meta', id: `${n - 3}'` },
  // Enough changes for a compaction every other commit.
  ...Array.from({ length: 2100 }, (): Change => ({ delete: 'networks', id: 'none' })),
]

type Outcome = 'acknowledged' | 'rejected'

interface Run {
  readonly outcomes: readonly Outcome[]
  /** null: it could not be opened. */
  readonly store: Store | null
}

const COMMITS = 8

/** Commits in pairs at the same time, one pair after another, on through failures. */
const run = async (disk: FaultDisk): Promise<Run> => {
  const store = await openStore(DIR, disk).catch(() => null)
  const outcomes: Outcome[] = []
  for (let n = 0; store !== null && n < COMMITS; n += 2) {
    const pair = await Promise.allSettled([store.commit(changesOf(n)), store.commit(changesOf(n + 1))])
    outcomes.push(...pair.map((end): Outcome => (end.status === 'fulfilled' ? 'acknowledged' : 'rejected')))
  }
  return { outcomes, store }
}

/** Plain objects: `toContainEqual` takes any two maps for equal. */
type Entries = Readonly<Record<string, unknown>>

/** The state that the commits make for which `holds` is true. */
const expected = (holds: (n: number) => boolean): Entries => {
  const meta = new Map<string, unknown>()
  for (let n = 0; n < COMMITS; n++) {
    if (!holds(n)) continue
    for (const change of changesOf(n)) {
      if ('put' in change) meta.set(change.id, change.value)
      else if (change.delete === 'meta') meta.delete(change.id)
    }
  }
  return Object.fromEntries(meta)
}

const metaOf = (state: State): Entries => Object.fromEntries(state.meta)

const countOperations = async (): Promise<number> => {
  const disk = faultDisk(NO_FAULTS)
  await run(disk)
  return disk.operations
}

const chooser = (numbers: readonly number[]) => {
  let next = 0
  return () => numbers[next++ % numbers.length] as number
}

describe('a power cut at any operation', async () => {
  const total = await countOperations()

  it('has a compaction in its way', () => {
    // create 6, resume none; a commit is 2, a compaction 7 or more.
    expect(total).toBeGreaterThan(6 + COMMITS + 7)
  })

  it('loses nothing that was acknowledged and splits no commit', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: total }),
        fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 8, maxLength: 8 }),
        async (powerCut, luck) => {
          const disk = faultDisk({ ...NO_FAULTS, powerCut })
          const { outcomes, store } = await run(disk)
          const found = await openStore(DIR, disk.afterPowerCut(chooser(luck)))
          const acknowledged = outcomes.filter(outcome => outcome === 'acknowledged').length
          // The group that was under way is there as a whole or not at all.
          const states = [expected(n => n < acknowledged), expected(n => n < acknowledged + 2)]
          expect(states).toContainEqual(metaOf(found.state))
          if (store !== null) expect(metaOf(store.state)).toEqual(states[0])
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('a disk that fails', async () => {
  const total = await countOperations()

  const check = async (faults: Faults, luck: readonly number[], secondCrash: boolean): Promise<void> => {
    const disk = faultDisk(faults)
    const { outcomes, store } = await run(disk)
    if (store === null) return
    const acknowledged = expected(n => outcomes[n] === 'acknowledged')
    expect(metaOf(store.state)).toEqual(acknowledged)
    const found = await openStore(DIR, secondCrash ? disk.afterPowerCut(chooser(luck)) : disk)
    expect(metaOf(found.state)).toEqual(acknowledged)
  }

  it('once, at any operation: rejected commits leave nothing, later ones are made, none are lost', async () => {
    for (let at = 0; at < total; at++) {
      for (const crash of [false, true])
        await check({ ...NO_FAULTS, fails: n => n === at }, [0.1, 0.5, 0.9], crash)
    }
  })

  it('for a while: as soon as it works again, so does the store', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: total }),
        fc.integer({ min: 1, max: 12 }),
        async (from, length) => {
          const disk = faultDisk({ ...NO_FAULTS, fails: n => n >= from && n < from + length })
          const { store, outcomes } = await run(disk)
          if (store === null) return
          while (disk.operations < from + length) await store.commit(changesOf(100)).catch(() => undefined)
          await store.commit(changesOf(200))
          const meta = metaOf(store.state)
          for (const [n, outcome] of outcomes.entries()) {
            const gone = outcomes[n + 3] === 'acknowledged'
            expect(`${n}` in meta).toBe(outcome === 'acknowledged' && !gone)
          }
          const found = await openStore(
            DIR,
            disk.afterPowerCut(() => 0),
          )
          expect(metaOf(found.state)).toEqual(meta)
        },
      ),
      { numRuns: 100 },
    )
  })

  it('rejects with state-write-failed, the file and the reason', async () => {
    let full = false
    const store = await openStore(DIR, faultDisk({ ...NO_FAULTS, fails: () => full }))
    full = true
    await expect(store.commit(changesOf(0))).rejects.toMatchObject({
      code: 'state-write-failed',
      details: { file: '/state/journal', why: 'no space left on device' },
      http: 507,
    })
  })
})
