import { label, type Measured } from '../rounds.ts'
import type { Verdict } from '../targets.ts'
import { number } from './format.ts'
import { plotFiles } from './plot.ts'
import type { CaseResult, Results } from './results.ts'
import { summarise } from './statistics.ts'

/** bench/results/latest.md. */
export const markdown = ({ machine, cases }: Results, verdicts: readonly Verdict[]): string =>
  [
    '# Benchmark results',
    '',
    `Made by \`npm run bench\` on ${machine.cores} × ${machine.cpu}, ${machine.memory}, Linux ${machine.kernel}, Node ${machine.node};`,
    `${Object.entries(machine.programs)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    'Client, path and server share the cores. Medians of interleaved rounds, with (min–max); ratios are taken within a round.',
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
        '| what | against | target | measured | |',
        '|---|---|---|---|---|',
        ...verdicts.map(({ target: t, median, min, max, met }) => {
          const times = t.against === null ? '' : '×'
          const goal = `${t.is === '>=' ? '≥' : '≤'} ${number(t.value)}${times}`
          const found = `${number(median)}${times} (${number(min)}–${number(max)})`
          return `| ${t.title} | ${t.against ?? '–'} | ${goal} | ${found} | ${met ? 'met' : '**missed**'} |`
        }),
        '',
      ]

const section = (one: CaseResult): string[] => {
  const metrics = Object.entries(one.metrics)
  const used = metrics.filter(([key]) => one.measured.some(m => m.samples[key] !== undefined))
  return [
    `## ${one.title}`,
    '',
    `${one.method}. \`${one.command}\` (${one.seconds} s)`,
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

const cell = (measured: Measured, metric: string): string => {
  const samples = measured.samples[metric]
  if (samples === undefined) return '–'
  const { median, min, max } = summarise(samples)
  return samples.length === 1 ? number(median) : `${number(median)} (${number(min)}–${number(max)})`
}
