/**
 * Interleaving: A B C, B C A, C A B, … Whatever drifts on the machine meets every contestant alike, and a ratio is taken
 * within a round, between samples that are seconds apart.
 */
import type { Case } from './cases/case.ts'
import type { Laboratory } from './lab/laboratory.ts'

export interface Measured {
  readonly series: string
  readonly x?: number
  /** Samples by metric, in the order of the rounds. */
  readonly samples: Readonly<Record<string, readonly number[]>>
}

export const runCase = async (
  one: Case,
  laboratory: Laboratory,
  rounds: number,
  progress: (done: number, of: number, now: string) => void,
): Promise<readonly Measured[]> => {
  const contestants = await one.contestants(laboratory)
  const all = contestants.map(c => ({ contestant: c, samples: {} as Record<string, number[]> }))
  const total = all.length + (rounds - 1) * contestants.filter(c => c.once !== true).length
  let done = 0
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < all.length; i++) {
      const entry = all[(i + round) % all.length]
      if (entry === undefined) continue
      const { contestant, samples } = entry
      if (contestant.once === true && round > 0) continue
      progress(done++, total, label(contestant.series, contestant.x))
      for (const [metric, value] of Object.entries(await contestant.measure())) {
        samples[metric] ??= []
        samples[metric].push(value)
      }
    }
  }
  return all.map(({ contestant: { series, x }, samples }) =>
    x === undefined ? { series, samples } : { series, x, samples },
  )
}

export const label = (series: string, x: number | undefined): string =>
  x === undefined ? series : `${series} @ ${x.toLocaleString('en')}`
