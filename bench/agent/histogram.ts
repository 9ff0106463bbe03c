import type { Percentiles } from './protocol.ts'

/** Of unsorted samples in milliseconds; sorts them in place. */
export const percentiles = (samples: Float64Array): Percentiles => {
  samples.sort()
  const at = (share: number): number =>
    samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0
  return { p50: at(0.5), p99: at(0.99) }
}
