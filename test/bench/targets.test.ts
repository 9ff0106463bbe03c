/** A promise is judged by what was measured in the same round, and one that is not measured is not kept. */
import { describe, expect, it, test } from 'vitest'
import type { CaseResult } from '../../bench/report/results.ts'
import type { Measured } from '../../bench/rounds.ts'
import { judge, type Target } from '../../bench/targets.ts'
import { inTries } from '../../bench/tries.ts'

const NEAR = 100
const FAR = 500

const measured = (
  series: string,
  samples: readonly number[],
  coreLatency: readonly number[] = [],
): Measured => ({
  series,
  samples: { rate: samples },
  coreLatency: coreLatency.length > 0 ? coreLatency : samples.map(() => NEAR),
})

const result = (name: string, ...all: readonly Measured[]): CaseResult => ({
  name,
  title: '',
  method: '',
  command: '',
  at: '',
  seconds: 0,
  metrics: {},
  measured: all,
})

const target = (is: Target['is'], value: number, more: Partial<Target> = {}): Target => ({
  title: `${is} ${value}`,
  case: 'tcp',
  metric: 'rate',
  of: 'ours',
  against: 'theirs',
  is,
  value,
  guard: true,
  ...more,
})

const verdict = (one: Target, ...all: readonly Measured[]) => judge([result('tcp', ...all)], [one])[0]

describe('a target', () => {
  it('takes the median of the ratios within rounds, not the ratio of medians', () => {
    const found = verdict(target('>=', 2), measured('ours', [10, 20, 90]), measured('theirs', [10, 2, 30]))
    expect(found).toMatchObject({ median: 3, min: 1, max: 10, met: true, share: 1.5 })
  })

  it.each([
    ['>=', 2, 20, true, 1],
    ['>=', 2, 19, false, 0.95],
    ['<=', 0.5, 5, true, 1],
    ['<=', 0.5, 6.25, false, 0.8],
    ['<=', 0.5, 0, true, Number.POSITIVE_INFINITY],
  ] as const)('%s %f with %f of 10', (is, value, ours, met, share) => {
    expect(verdict(target(is, value), measured('ours', [ours]), measured('theirs', [10]))).toMatchObject({
      met,
      share,
    })
  })

  it('may be the figure itself', () => {
    expect(verdict(target('<=', 512, { against: null }), measured('ours', [400, 300, 800]))).toMatchObject({
      median: 400,
      met: true,
    })
  })

  it('shows the rounds in which the CPUs were near, and far, apart from each other', () => {
    const found = verdict(
      target('>=', 1),
      measured('ours', [20, 40, 60], [NEAR, FAR, FAR]),
      measured('theirs', [10, 10, 10], [NEAR, FAR, NEAR]),
    )
    expect(found).toMatchObject({ near: 2, far: 4, median: 4 })
  })

  it('is even where neither has any', () => {
    expect(verdict(target('<=', 1), measured('ours', [0, 0]), measured('theirs', [0, 5]))).toMatchObject({
      median: 0.5,
      max: 1,
    })
    expect(verdict(target('<=', 1), measured('ours', [5]), measured('theirs', [0]))).toMatchObject({
      met: false,
    })
  })

  it('has no verdict when one of the two failed on the way', () => {
    const [ours, theirs] = [measured('ours', [9, 9]), measured('theirs', [1, 1, 1])]
    expect(verdict(target('>=', 1), { ...ours, failed: 'ECONNRESET' }, theirs)).toBeUndefined()
    expect(verdict(target('>=', 1), ours, { ...theirs, failed: 'ECONNRESET' })).toBeUndefined()
  })

  it('has no verdict when one of the two was not measured', () => {
    expect(verdict(target('>=', 1), measured('ours', [10]))).toBeUndefined()
    expect(verdict(target('>=', 1), measured('theirs', [10]))).toBeUndefined()
    expect(verdict(target('>=', 1), measured('ours', []), measured('theirs', [10]))).toBeUndefined()
  })
})

describe('the guard', () => {
  const [fast, small] = [target('>=', 2), target('<=', 0.5, { title: 'small', case: 'range' })]

  /** Ratios of `fast` and `small`, try by try; null is not measured. */
  const run = async (...tries: readonly (readonly [fast: number | null, small: number | null])[]) => {
    const asked: string[] = []
    const printed: string[] = []
    const kept = await inTries(
      [fast, small],
      line => printed.push(line),
      async open => {
        const ratios = tries[asked.length] ?? [null, null]
        asked.push(open.map(({ title }) => title).join(', '))
        return ratios.flatMap((ratio, i) =>
          ratio === null
            ? []
            : [result(i === 0 ? 'tcp' : 'range', measured('ours', [ratio]), measured('theirs', [1]))],
        )
      },
    )
    return { kept, asked, printed }
  }

  test('is content with 0.8 of each target, in one try', async () => {
    expect(await run([1.6, 0.5 / 0.8])).toMatchObject({ kept: true, asked: ['>= 2, small'] })
  })

  test('tries again what fell, and only that', async () => {
    const { kept, asked, printed } = await run([1.5, 0.4], [1.7, null])
    expect({ kept, asked }).toEqual({ kept: true, asked: ['>= 2, small', '>= 2'] })
    expect(printed).toEqual([
      'try 1: >= 2 / theirs: 1.5 (target >= 2) BELOW',
      'try 1: small / theirs: 0.4 (target <= 0.5) met',
      'try 2: >= 2 / theirs: 1.7 (target >= 2) held',
    ])
  })

  test.each([
    [
      'falls in three tries',
      [
        [1.5, 0.4],
        [1.5, 0.4],
        [1.59, 0.4],
        [9, 0.4],
      ],
      '>= 2',
    ],
    [
      'grows too large',
      [
        [2, 0.63],
        [2, 0.63],
        [2, 0.63],
      ],
      'small',
    ],
    ['is not measured', [[null, 0.4]], '>= 2'],
  ] as const)('fails when a ratio %s', async (_, tries, title) => {
    const { kept, asked, printed } = await run(...tries)
    expect(kept).toBe(false)
    expect(asked).toHaveLength(3)
    expect(printed.at(-1)).toBe(`below 0.8 of its target in 3 tries, or not measured: ${title}`)
  })
})
