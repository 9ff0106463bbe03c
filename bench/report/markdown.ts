import { label, type Measured } from '../rounds.ts'
import type { Verdict } from '../targets.ts'
import { number } from './format.ts'
import { plotFiles } from './plot.ts'
import type { CaseResult, Results } from './results.ts'
import { byDistance, summarise } from './statistics.ts'

/** bench/results/latest.md. */
export const markdown = ({ machine, cases }: Results, verdicts: readonly Verdict[]): string =>
  [
    '# Benchmark results',
    '',
    `Made by \`npm run bench\` on ${machine.cores} × ${machine.cpu}, ${machine.memory}, Linux ${machine.kernel}, Node ${machine.node};`,
    `${Object.entries(machine.programs)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    'Client, path and server share the cores. Medians of interleaved rounds, with (min–max); ratios are taken within a round. The host moves',
    'the CPUs about: “near” and “far” tell rounds apart by the time of a round trip of a cache line between two of them (docs/PERFORMANCE.md).',
    '',
    ...targetTable(verdicts),
    ...cases.flatMap(section),
  ].join('\n')

const targetTable = (verdicts: readonly Verdict[]): string[] =>
  verdicts.length === 0
    ? []
    : [
        '## Targets',
        '',
        '| what | against | target | measured | CPUs near | CPUs far | |',
        '|---|---|---|---|---|---|---|',
        ...verdicts.map(({ target: t, near, far, met, ...all }) => {
          const times = t.against === null ? '' : '×'
          const goal = `${t.is === '>=' ? '≥' : '≤'} ${number(t.value)}${times}`
          const found = `${number(all.median)}${times} (${number(all.min)}–${number(all.max)})`
          const part = (figure: number | null): string =>
            figure === null ? '–' : `${number(figure)}${times}`
          return `| ${t.title} | ${t.against ?? '–'} | ${goal} | ${found} | ${part(near)} | ${part(far)} | ${met ? 'met' : '**missed**'} |`
        }),
        '',
      ]

const section = (one: CaseResult): string[] => {
  const metrics = Object.entries(one.metrics)
  const used = metrics.filter(([key]) => one.measured.some(m => m.samples[key] !== undefined))
  return [
    `## ${one.title}`,
    '',
    `${one.method}. \`${one.command}\` (${one.seconds} s). ${distance(one)}`,
    '',
    ...plotFiles(one).map(plot => `![${plot.title}](${plot.file})`),
    '',
    `| | ${used.map(([, m]) => (m.unit === '' ? m.title : `${m.title}, ${m.unit}`)).join(' | ')} |`,
    `|---|${used.map(() => '---:').join('|')}|`,
    ...one.measured.map(
      m => `| ${label(m.series, m.x)} | ${used.map(([key]) => cell(m, key)).join(' | ')} |`,
    ),
    '',
    ...one.measured.flatMap(m =>
      m.failed === undefined ? [] : [`${label(m.series, m.x)} failed: ${m.failed}`, ''],
    ),
  ]
}

/** How far apart the CPUs were. */
export const distance = ({ measured }: CaseResult): string => {
  const all = measured.flatMap(m => m.coreLatency)
  if (all.length === 0) return ''
  const { near, far } = byDistance(all, all)
  const part = (name: string, some: readonly number[]): string[] =>
    some.length === 0
      ? []
      : [`${name} in ${some.length} of ${all.length} samples (${number(summarise(some).median)} ns)`]
  return `CPUs ${[...part('near', near), ...part('far apart', far)].join(', ')}.`
}

const cell = (measured: Measured, metric: string): string => {
  const samples = measured.samples[metric]
  if (samples === undefined) return '–'
  const { median, min, max } = summarise(samples)
  return samples.length === 1 ? number(median) : `${number(median)} (${number(min)}–${number(max)})`
}
