/**
 * Interleaving: A B C, B C A, C A B, … Whatever drifts on the machine meets every contestant alike, and a ratio is taken
 * within a round, between samples that are seconds apart.
 */
import { ExecaError } from 'execa'
import type { Case, Contestant } from './cases/case.ts'
import type { Laboratory } from './lab/laboratory.ts'

export interface Measured {
  readonly series: string
  readonly x?: number
  /** Samples by metric, in the order of the rounds. */
  readonly samples: Readonly<Record<string, readonly number[]>>
  /** Why there are no more samples than these. */
  readonly failed?: string
}

/** Rounds of a full run. */
const FULL = 5

export const runCase = async (
  one: Case,
  laboratory: Laboratory,
  rounds: number,
  isCore: (series: string) => boolean,
  progress: (done: number, of: number, now: string) => void,
): Promise<readonly Measured[]> => {
  const entries = (await one.contestants(laboratory)).map(entry)
  // Not where somebody asked for a quick look.
  const last = rounds < FULL ? rounds : rounds + (one.more ?? 0)
  const takesPart = ({ contestant: { once, series }, failed }: Entry, round: number): boolean =>
    failed === undefined && (round === 0 || once !== true) && (round < rounds || isCore(series))
  let total = 0
  for (let round = 0; round < last; round++) total += entries.filter(e => takesPart(e, round)).length
  let done = 0
  for (let round = 0; round < last; round++) {
    for (const next of rotated(entries, round)) {
      if (!takesPart(next, round)) continue
      progress(done++, total, label(next.contestant.series, next.contestant.x))
      await sample(next)
    }
  }
  return entries.map(({ contestant: { series, x }, samples, failed }) => ({
    series,
    ...(x === undefined ? {} : { x }),
    samples,
    ...(failed === undefined ? {} : { failed }),
  }))
}

interface Entry {
  readonly contestant: Contestant
  readonly samples: Record<string, number[]>
  failed?: string
}

const entry = (contestant: Contestant): Entry => ({ contestant, samples: {} })

/** One that fails is out of the case, with its reason; the others' samples are still good. */
const sample = async (one: Entry): Promise<void> => {
  try {
    for (const [metric, value] of Object.entries(await one.contestant.measure())) {
      one.samples[metric] ??= []
      one.samples[metric].push(value)
    }
  } catch (error) {
    const said = error instanceof ExecaError ? String(error.stderr) : String(error)
    one.failed = said.split('\n', 1)[0] ?? said
  }
}

const rotated = <T>(all: readonly T[], by: number): readonly T[] => {
  const from = by % Math.max(1, all.length)
  return [...all.slice(from), ...all.slice(0, from)]
}

export const label = (series: string, x: number | undefined): string =>
  x === undefined ? series : `${series} @ ${x.toLocaleString('en')}`
