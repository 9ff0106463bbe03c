/**
 * The bench, from the command line to the results: select cases, measure each in interleaved rounds, write the report.
 *
 *   npm run bench                      every case
 *   npm run bench -- tcp udp           the cases those words select (names and groups; `list` shows them)
 *   npm run bench -- --rounds 3 tcp    fewer rounds
 *   npm run bench -- --peers 'docker-proxy,portctl relay' tcp
 *   npm run bench -- guard             the core ratios only, in under 90 seconds; exit status 1 when one fell
 */
import { parseArgs } from 'node:util'
import type { Case } from './cases/case.ts'
import { CASES } from './cases/index.ts'
import { openLaboratory } from './lab/laboratory.ts'
import type { CaseResult } from './report/results.ts'
import { writeReport } from './report/write.ts'
import { runCase } from './rounds.ts'

const { values, positionals } = parseArgs({
  args: process.argv.slice(4),
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, peers: { type: 'string', default: '' } },
})
const rounds = Number(values.rounds)
const peers = values.peers.split(',').filter(name => name !== '')

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const select = (words: readonly string[]): readonly Case[] => {
  const chosen = CASES.filter(
    one => words.length === 0 || words.some(word => word === one.name || one.words.includes(word)),
  )
  const known = new Set(CASES.flatMap(one => [one.name, ...one.words]))
  const strange = words.filter(word => !known.has(word))
  if (strange.length > 0)
    throw new Error(`no case '${strange.join("', '")}'; there are: ${[...known].join(' ')}`)
  return chosen
}

const list = (): void => {
  for (const one of CASES) console.log(`${one.name.padEnd(20)} ${one.title} [${one.words.join(' ')}]`)
}

const measure = async (cases: readonly Case[]): Promise<readonly CaseResult[]> => {
  const laboratory = openLaboratory(say, peers)
  const begun = performance.now()
  const results: CaseResult[] = []
  for (const [i, one] of cases.entries()) {
    const started = performance.now()
    const progress = (done: number, of: number, now: string): void => {
      const elapsed = Math.round((performance.now() - begun) / 1000)
      say(`[${String(elapsed).padStart(3)} s] ${i + 1}/${cases.length} ${one.name} ${done + 1}/${of} ${now}`)
    }
    const measured = await runCase(one, laboratory, rounds, progress)
    const { name, title, method, metrics } = one
    results.push({
      name,
      title,
      method,
      command: `npm run bench -- ${name}`,
      at: new Date().toISOString(),
      seconds: Math.round((performance.now() - started) / 1000),
      metrics,
      ...(one.axis === undefined ? {} : { axis: one.axis }),
      measured,
    })
  }
  return results
}

const main = async (): Promise<void> => {
  if (positionals.includes('list')) return list()
  const results = await measure(select(positionals))
  await writeReport(
    results,
    CASES.map(one => one.name),
  )
  say('written: bench/results/latest.md, latest.json and the plots')
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error)
    process.exit(1)
  },
)
