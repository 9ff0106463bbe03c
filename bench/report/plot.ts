/** One SVG a plotted metric: bars with their spread, or curves where contestants have an x. */
import type { Metric } from '../cases/case.ts'
import { bars } from './plot-bars.ts'
import { curves } from './plot-curves.ts'
import type { CaseResult } from './results.ts'
import { summarise } from './statistics.ts'

export interface Plot {
  readonly file: string
  readonly title: string
  readonly svg: () => string
}

export const plotFiles = (one: CaseResult): readonly Plot[] =>
  Object.entries(one.metrics)
    .filter(([key, metric]) => metric.plot === true && one.measured.some(m => m.samples[key] !== undefined))
    .map(([key, metric]) => ({
      file: `${one.name}.${key}.svg`,
      title: `${one.title}: ${metric.title}`,
      svg: () => draw(one, key, metric),
    }))

const draw = (one: CaseResult, key: string, metric: Metric): string => {
  const points = one.measured.flatMap(m => {
    const samples = m.samples[key]
    return samples === undefined ? [] : [{ series: m.series, x: m.x, ...summarise(samples) }]
  })
  const better = `${metric.better} is better`
  const caption =
    metric.unit === '' ? `${metric.title} (${better})` : `${metric.title}, ${metric.unit} (${better})`
  if (one.axis === undefined) return bars({ title: one.title, caption, points })
  const placed = points.flatMap(p => (p.x === undefined ? [] : [{ ...p, x: p.x }]))
  return curves({ title: one.title, caption, axis: one.axis, points: placed })
}
