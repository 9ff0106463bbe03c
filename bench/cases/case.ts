/** A case: who is measured, what each measurement yields, and how it is shown. One object literal a file. */
import type { Laboratory } from '../lab/laboratory.ts'

export interface Metric {
  readonly title: string
  readonly unit: string
  readonly better: 'higher' | 'lower'
  /** Shown as a plot; the rest are in the tables only. */
  readonly plot?: boolean
}

export interface Contestant {
  readonly series: string
  /** Where something scales: how much of it. */
  readonly x?: number
  /** Takes part in the first round only: what takes a minute, or can be measured on a fresh process only. */
  readonly once?: boolean
  /** One sample: a value for each metric that applies. Bounded in time. */
  readonly measure: () => Promise<Readonly<Record<string, number>>>
}

export interface Case {
  readonly name: string
  /** Other words that select it on the command line. */
  readonly words: readonly string[]
  readonly title: string
  /** How it was measured, for the reader of the results. */
  readonly method: string
  readonly metrics: Readonly<Record<string, Metric>>
  /** Axis of `x`, when contestants have one. */
  readonly axis?: string
  /** At most so many rounds; curves show a shape, and their spread shows in their neighbours. */
  readonly rounds?: number
  /** Those that a target names go on for so many rounds more: the figures of this case scatter widely. */
  readonly more?: number
  readonly contestants: (laboratory: Laboratory) => Promise<readonly Contestant[]>
}
