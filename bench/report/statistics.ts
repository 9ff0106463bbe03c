import { isFar } from '../lab/core-latency.ts'

export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
}

export const summarise = (samples: readonly number[]): Summary => {
  if (samples.length === 0) throw new Error('no samples')
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (i: number): number => sorted[i] ?? Number.NaN
  const middle = sorted.length >> 1
  return {
    median: sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2,
    min: at(0),
    max: at(sorted.length - 1),
  }
}

/** Samples taken while the CPUs were near, and while they were far apart; those of rounds that saw both are in neither. */
export const byDistance = (
  samples: readonly number[],
  ...coreLatencies: readonly (readonly number[])[]
): { readonly near: readonly number[]; readonly far: readonly number[] } => {
  const far = (i: number): boolean[] => coreLatencies.map(all => isFar(all[i] ?? 0))
  return {
    near: samples.filter((_, i) => !far(i).includes(true)),
    far: samples.filter((_, i) => !far(i).includes(false)),
  }
}

/**
 * Ratios within rounds where both sides have a sample in each; else every sample of `of` against the median of
 * `against` (what the guard takes from the record). Nothing against nothing is even.
 */
export const ratios = (of: readonly number[], against: readonly number[]): readonly number[] => {
  const other = of.length === against.length ? against : of.map(() => summarise(against).median)
  return of.map((value, i) => (value === other[i] ? 1 : value / (other[i] ?? Number.NaN)))
}
