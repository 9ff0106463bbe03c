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
  /** What grows with `x`, and is not given back: all rounds of one `x` come before those of the next. */
  readonly grows?: boolean
  /** Takes longer than all others together: runs only where it is named, and keeps its place in the report meanwhile. */
  readonly apart?: boolean
  readonly contestants: (laboratory: Laboratory) => Promise<readonly Contestant[]>
}
