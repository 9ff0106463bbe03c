/**
 * What is told of a run that writes nothing: each figure, and with several checkouts of portctl its ratio to this one's,
 * within rounds. Even two instances of one build differ by some 3 %: compare against a copy of the same, too, before
 * believing in less.
 */
import { basename } from 'node:path'
import { label } from '../rounds.ts'
import { number } from './format.ts'
import { distance } from './markdown.ts'
import type { CaseResult } from './results.ts'
import { ratios, summarise } from './statistics.ts'

export const compare = (results: readonly CaseResult[], checkouts: readonly string[]): string =>
  results
    .filter(({ measured }) => measured.length > 0)
    .flatMap(one => [
      one.title,
      `  ${distance(one)}`,
      ...one.measured.flatMap(({ series, x, failed }) =>
        failed === undefined ? [] : [`  ${label(series, x)} failed: ${failed}`],
      ),
      ...Object.entries(one.metrics).flatMap(([m, { title }]) => rows(one, m, title, checkouts)),
    ])
    .map(line => `${line}\n`)
    .join('')

const rows = (
  { measured }: CaseResult,
  metric: string,
  title: string,
  checkouts: readonly string[],
): readonly string[] =>
  measured.flatMap(({ series, x, samples: { [metric]: samples = [] } }) => {
    if (samples.length === 0) return []
    // A series of another checkout is named after ours and it: 'portctl relay, before' (peers/portctl.ts).
    const ours = measured.find(
      other => other.x === x && checkouts.some(one => series === `${other.series}, ${basename(one)}`),
    )
    const base = ours?.samples[metric] ?? []
    const ratio = base.length === 0 || base.includes(0) ? '' : `  ${spread(ratios(samples, base))}×`
    return [`  ${title.padEnd(26)} ${label(series, x).padEnd(34)} ${spread(samples)}${ratio}`]
  })

const spread = (samples: readonly number[]): string => {
  const { median, min, max } = summarise(samples)
  return `${number(median)} (${number(min)}–${number(max)})`
}
