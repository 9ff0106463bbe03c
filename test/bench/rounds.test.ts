/** Who is measured when, and what is measured again because the machine was another one meanwhile. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Case, Contestant } from '../../bench/cases/case.ts'
import { type CoreLatency, isFar } from '../../bench/lab/core-latency.ts'
import type { Laboratory } from '../../bench/lab/laboratory.ts'
import { byDistance } from '../../bench/report/statistics.ts'
import { runCase } from '../../bench/rounds.ts'

const NEAR = 100
const FAR = 500

afterEach(() => {
  vi.useRealTimers()
})

/** Runs a case of these contestants; `moves` says how far apart the CPUs are from the n-th sample on. */
const run = async (
  contestants: readonly (Omit<Contestant, 'measure'> & { readonly takes?: () => void })[],
  moves: Readonly<Record<number, number>>,
  { rounds = 1, ...more }: { readonly rounds?: number; readonly grows?: boolean } = {},
) => {
  const order: string[] = []
  let apart = NEAR
  const coreLatency: CoreLatency = () => apart
  const one: Case = {
    name: 'case',
    words: [],
    title: '',
    method: '',
    metrics: {},
    ...more,
    contestants: async () =>
      contestants.map(({ takes, ...contestant }) => ({
        ...contestant,
        measure: async () => {
          apart = moves[order.length] ?? apart
          order.push(`${contestant.series}${contestant.x ?? ''}`)
          takes?.()
          return { place: order.length }
        },
      })),
  }
  const said: string[] = []
  const laboratory = { coreLatency } as Laboratory
  const measured = await runCase(one, laboratory, rounds, (done, of, now) =>
    said.push(`${done}/${of} ${now}`),
  )
  return { order: order.join(' '), measured, said }
}

const ABC = [{ series: 'a' }, { series: 'b' }, { series: 'c' }]

describe('rounds', () => {
  it('begin with another contestant each time', async () => {
    const { order } = await run(ABC, {}, { rounds: 4 })
    expect(order).toBe('a b c b c a c a b a b c')
  })

  it('come one size after the other where something grows', async () => {
    const sizes = [1, 2].flatMap(x => [
      { series: 'a', x },
      { series: 'b', x },
    ])
    expect((await run(sizes, {}, { rounds: 2, grows: true })).order).toBe('a1 b1 b1 a1 a2 b2 b2 a2')
    expect((await run(sizes, {}, { rounds: 2 })).order).toBe('a1 b1 a2 b2 b1 a2 b2 a1')
  })
})

describe('a round during which the CPUs are moved', () => {
  it('takes again what came before, and says so', async () => {
    const { order, measured, said } = await run(ABC, { 2: FAR })
    expect(order).toBe('a b c a b c')
    expect(measured.map(m => m.samples.place)).toEqual([[4], [5], [6]])
    expect(measured.map(m => m.coreLatency)).toEqual([[FAR], [FAR], [FAR]])
    expect(said.slice(2, 4)).toEqual(['3/3 c', '3/3 a, again: CPUs were moved'])
  })

  it('keeps what came after', async () => {
    const { order, measured } = await run(ABC, { 1: FAR })
    expect(order).toBe('a b c a b')
    expect(measured.map(m => m.samples.place)).toEqual([[4], [5], [3]])
  })

  it('takes again what lay between two moves', async () => {
    expect((await run(ABC, { 1: FAR, 2: NEAR })).order).toBe('a b c b c')
  })

  it('stands as it is when they are moved for ever', async () => {
    const moves = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i, i % 2 === 0 ? FAR : NEAR]))
    const { order, measured } = await run(ABC, moves)
    expect(order).toBe('a b c a b c a b c')
    expect(measured.map(m => m.samples.place?.length)).toEqual([1, 1, 1])
  })

  it('does not repeat what takes long', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const slow = { series: 'slow', takes: () => vi.advanceTimersByTime(5000) }
    expect((await run([slow, ...ABC], { 3: FAR })).order).toBe('slow a b c a b c')
  })

  it('leaves one that fails out, with its reason and the rounds before', async () => {
    let takes = 0
    const fails = {
      series: 'b',
      takes: () => {
        if (++takes === 2) throw new Error('broke\nat some place')
      },
    }
    const { order, measured } = await run([{ series: 'a' }, fails], {}, { rounds: 3 })
    expect(order).toBe('a b b a a')
    expect(measured[1]).toEqual({
      series: 'b',
      samples: { place: [2] },
      coreLatency: [NEAR],
      failed: 'Error: broke',
    })
  })
})

it('samples are told apart by how far the CPUs were', () => {
  expect([NEAR, FAR].map(isFar)).toEqual([false, true])
  expect(byDistance([1, 2, 3], [NEAR, FAR, NEAR])).toEqual({ near: [1, 3], far: [2] })
  // Of two contestants: a round that saw both is of neither kind.
  expect(byDistance([1, 2, 3], [NEAR, FAR, NEAR], [NEAR, FAR, FAR])).toEqual({ near: [1], far: [2] })
})
