/**
 * Interleaving: A B C, B C A, C A B, … Whatever drifts on the machine meets every contestant alike, and a ratio is taken
 * within a round, between samples that are seconds apart and of one kind (round.ts).
 */
import type { Case, Contestant } from './cases/case.ts'
import type { Laboratory } from './lab/laboratory.ts'
import { type Entry, takeRound } from './round.ts'

export interface Measured {
  readonly series: string
  readonly x?: number
  /** Samples by metric, in the order of the rounds. */
  readonly samples: Readonly<Record<string, readonly number[]>>
  /** Of each round: nanoseconds of a round trip between two CPUs (lab/core-latency.ts). */
  readonly coreLatency: readonly number[]
  /** Why there are no more samples than these. */
  readonly failed?: string
}

export const runCase = async (
  one: Case,
  laboratory: Laboratory,
  rounds: number,
  progress: (done: number, of: number, now: string) => void,
): Promise<readonly Measured[]> => {
  const entries = (await one.contestants(laboratory)).map(entry)
  const plan = levels(one, entries).flatMap(level => schedule(level, rounds))
  const total = plan.reduce((sum, round) => sum + round.length, 0)
  let done = 0
  for (const round of plan) {
    const fit = round.filter(({ failed }) => failed === undefined)
    await takeRound(fit, laboratory.coreLatency, ({ contestant: { series, x } }, again) => {
      if (!again) done++
      progress(done, total, `${label(series, x)}${again ? ', again: CPUs were moved' : ''}`)
    })
  }
  return entries.map(({ contestant: { series, x }, samples, coreLatency, failed }) => ({
    series,
    ...(x === undefined ? {} : { x }),
    samples,
    coreLatency,
    ...(failed === undefined ? {} : { failed }),
  }))
}

const entry = (contestant: Contestant): Entry => ({ contestant, samples: {}, coreLatency: [] })

/** Everybody at once; where something grows that does not shrink again, one size after the other. */
const levels = ({ grows }: Case, entries: readonly Entry[]): readonly (readonly Entry[])[] =>
  grows === true
    ? [...new Set(entries.map(e => e.contestant.x))].map(x => entries.filter(e => e.contestant.x === x))
    : [entries]

const schedule = (entries: readonly Entry[], rounds: number): readonly (readonly Entry[])[] =>
  Array.from({ length: rounds }, (_, round) => rotated(entries, round))

const rotated = <T>(all: readonly T[], by: number): readonly T[] => {
  const from = by % Math.max(1, all.length)
  return [...all.slice(from), ...all.slice(0, from)]
}

export const label = (series: string, x: number | undefined): string =>
  x === undefined ? series : `${series} @ ${x.toLocaleString('en')}`
