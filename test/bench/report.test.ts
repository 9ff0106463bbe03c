/** What is committed: drawn from its samples, complete, and shown where the reader is told so. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { markdown } from '../../bench/report/markdown.ts'
import { plotFiles } from '../../bench/report/plot.ts'
import type { Results } from '../../bench/report/results.ts'
import { judge, TARGETS } from '../../bench/targets.ts'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const results = JSON.parse(read('bench/results/latest.json')) as Results

test('the report is what the samples give', () => {
  expect(read('bench/results/latest.md')).toBe(markdown(results, judge(results.cases)))
})

test('so is every plot, and there is no other', () => {
  const plots = results.cases.flatMap(plotFiles)
  const files = readdirSync(join(ROOT, 'bench/results')).filter(file => file.endsWith('.svg'))
  expect(files.sort()).toEqual(plots.map(({ file }) => file).sort())
  for (const { file, svg } of plots) expect(read(`bench/results/${file}`)).toBe(svg())
})

test('every target has a verdict', () => {
  expect(judge(results.cases).map(({ target }) => target.title)).toEqual(TARGETS.map(({ title }) => title))
})

test.each(results.cases)('$name was measured in five rounds', ({ measured }) => {
  expect(measured.length).toBeGreaterThan(0)
  for (const { series, x, samples, failed } of measured) {
    expect(failed, `${series} ${x ?? ''}`).toBeUndefined()
    const lengths = Object.values(samples).map(values => values.length)
    expect(lengths.length).toBeGreaterThan(0)
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(5)
  }
})

test.each(['README.md', 'docs/PERFORMANCE.md'])('%s shows plots that are there', page => {
  const shown = [...read(page).matchAll(/bench\/results\/([\w.-]+\.svg)/g)].map(([, file]) => file as string)
  expect(shown.length).toBeGreaterThan(2)
  expect(readdirSync(join(ROOT, 'bench/results'))).toEqual(expect.arrayContaining(shown))
})

test('docs/PERFORMANCE.md names the targets that are missed, and how many are not', () => {
  const verdicts = judge(results.cases)
  const missed = verdicts.filter(({ met }) => !met)
  const table =
    /## Targets that are missed[\s\S]*?(?=\n## |\n\*\*Profile)/.exec(read('docs/PERFORMANCE.md'))?.[0] ?? ''
  expect(table).toContain(`${verdicts.length - missed.length} of ${verdicts.length} are met`)
  const rows = table
    .split('\n')
    .filter(line => line.startsWith('| '))
    .slice(1)
  for (const [i, { median }] of missed.entries()) expect(rows[i]).toContain(`${median.toFixed(2)}×`)
  expect(rows).toHaveLength(missed.length)
})
