/** What portctl promises, as data: a metric of one contestant against another's, in one run. */

import type { CaseResult } from './report/results.ts'
import { ratios, summarise } from './report/statistics.ts'
import { label } from './rounds.ts'

export interface Target {
  readonly title: string
  readonly case: string
  readonly metric: string
  readonly of: string
  /** null: the value itself is the figure. */
  readonly against: string | null
  readonly is: '>=' | '<='
  readonly value: number
  /** Fails a build when it falls below 0.8 of the target. */
  readonly guard?: boolean
}

const RELAY = 'portctl relay'
const KERNEL = 'portctl kernel'
const PROXY = 'docker-proxy'

export const TARGETS: readonly Target[] = [
  {
    title: 'Keep-alive requests a second, relay',
    case: 'tcp-keepalive',
    metric: 'requests-per-second',
    of: RELAY,
    against: PROXY,
    is: '>=',
    value: 1.4,
    guard: true,
  },
  {
    title: 'New connections a second, relay',
    case: 'tcp-connections',
    metric: 'connections-per-second',
    of: RELAY,
    against: PROXY,
    is: '>=',
    value: 1.5,
  },
  {
    title: 'Bulk, one stream, relay',
    case: 'tcp-bulk-1',
    metric: 'throughput',
    of: RELAY,
    against: PROXY,
    is: '>=',
    value: 1.15,
    guard: true,
  },
  {
    title: 'Bulk, four streams, relay',
    case: 'tcp-bulk-4',
    metric: 'throughput',
    of: RELAY,
    against: PROXY,
    is: '>=',
    value: 1.15,
  },
  {
    title: 'CPU a GB, relay',
    case: 'tcp-bulk-1',
    metric: 'cpu-machine',
    of: RELAY,
    against: PROXY,
    is: '<=',
    value: 0.9,
  },
  {
    title: 'Keep-alive requests a second, kernel path',
    case: 'tcp-keepalive',
    metric: 'requests-per-second',
    of: KERNEL,
    against: 'direct',
    is: '>=',
    value: 0.95,
    guard: true,
  },
  {
    title: 'New connections a second, kernel path',
    case: 'tcp-connections',
    metric: 'connections-per-second',
    of: KERNEL,
    against: 'direct',
    is: '>=',
    value: 0.95,
  },
  {
    title: 'Bulk, one stream, kernel path',
    case: 'tcp-bulk-1',
    metric: 'throughput',
    of: KERNEL,
    against: 'direct',
    is: '>=',
    value: 0.95,
  },
]

export interface Verdict {
  readonly target: Target
  readonly median: number
  readonly min: number
  readonly max: number
  readonly met: boolean
  /** The figure as a share of the target; 1 is just met, more is better. */
  readonly share: number
}

/** One verdict a target whose two contestants were measured. */
export const judge = (cases: readonly CaseResult[], targets = TARGETS): readonly Verdict[] =>
  targets.flatMap(target => {
    const measured = cases.find(c => c.name === target.case)?.measured ?? []
    const samples = (name: string): readonly number[] | undefined =>
      measured.find(m => label(m.series, m.x) === name)?.samples[target.metric]
    const of = samples(target.of) ?? []
    const against = target.against === null ? of.map(() => 1) : (samples(target.against) ?? [])
    if (of.length === 0 || against.length === 0) return []
    const { median, min, max } = summarise(ratios(of, against))
    const share = target.is === '>=' ? median / target.value : target.value / median
    return [{ target, median, min, max, met: share >= 1, share }]
  })
