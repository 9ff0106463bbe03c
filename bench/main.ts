/**
 * The bench, from the command line to the results: select cases, measure each in interleaved rounds, write the report.
 *
 *   npm run bench                      every case but range-docker, which takes longer than all others together
 *   npm run bench -- tcp udp           the cases those words select (names and groups; `list` shows them)
 *   npm run bench -- --rounds 9 --seconds 5 tcp    more and longer samples
 *   npm run bench -- --peers 'docker-proxy,portctl relay' tcp    these only; prints, and writes nothing
 *   npm run bench -- --against ../before tcp udp        this checkout and others, built ones; the same
 *   npm run bench -- guard             the core ratios only, in under 90 seconds; exit status 1 when one fell
 */
import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Case } from './cases/case.ts'
import { CASES } from './cases/index.ts'
import { guard } from './guard.ts'
import { openLaboratory } from './lab/laboratory.ts'
import { paths } from './lab/paths.ts'
import { measure } from './measure.ts'
import { worldName } from './peers/portctl.ts'
import { compare } from './report/compare.ts'
import { writeReport } from './report/write.ts'

/** What the command line got wrong: told in one line. */
class Mistake extends Error {}

const readArguments = () => {
  try {
    return parseArgs({
      args: process.argv.slice(4),
      allowPositionals: true,
      options: {
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '1' },
        peers: { type: 'string', default: '' },
        against: { type: 'string', default: '' },
      },
    })
  } catch (error) {
    // What parseArgs says after the first sentence is about arguments that begin with a dash.
    throw new Mistake((error as Error).message.split('. ')[0])
  }
}

const count = (flag: string, text: string): number => {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Mistake(`${flag} '${text}': not a number from 1 to 9999`)
  return Number(text)
}

const names = (list: string): readonly string[] => list.split(',').filter(name => name !== '')

/** Checkouts go by the names of their directories, in the tables and in those of namespaces. */
const worldOf = (checkout: string): string => worldName(basename(checkout))

const built = (checkout: string): string => {
  const path = resolve(paths.root, checkout)
  if (!existsSync(join(path, 'dist/portctl.cjs')))
    throw new Mistake(`--against '${checkout}': no portctl that is built there (npm ci && npm run build)`)
  return path
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)

const select = (words: readonly string[]): readonly Case[] => {
  const chosen = CASES.filter(
    one =>
      (words.length === 0 && one.apart !== true) ||
      words.some(word => word === one.name || one.words.includes(word)),
  )
  const known = new Set(CASES.flatMap(one => [one.name, ...one.words]))
  const strange = words.filter(word => !known.has(word))
  if (strange.length > 0)
    throw new Mistake(`no case '${strange.join("', '")}'; there are: ${[...known].join(' ')}`)
  return chosen
}

const list = (): void => {
  for (const { name, title, words, apart } of CASES)
    console.log(`${name.padEnd(20)} ${title} [${apart === true ? 'only by its name' : words.join(' ')}]`)
}

/** Resolves to the exit status. */
const main = async (): Promise<number> => {
  const { values, positionals } = readArguments()
  const rounds = count('--rounds', values.rounds)
  const seconds = count('--seconds', values.seconds)
  const only = names(values.peers)
  const against = names(values.against).map(built)
  if (new Set(against.map(worldOf)).size < against.length)
    throw new Mistake(`--against '${values.against}': name the checkouts' directories differently`)
  const [word, ...more] = positionals
  const alone = ['list', 'guard'].find(one => positionals.includes(one))
  if (alone !== undefined && more.length > 0) throw new Mistake(`'${alone}' stands alone`)
  if (word === 'list') {
    list()
    return 0
  }
  if (word === 'guard') return (await guard(say)) ? 0 : 1
  const laboratory = openLaboratory({ say, only, seconds, against })
  const results = await measure(select(positionals), laboratory, rounds, say)
  // A part of a case's contestants must not take the place of all of them.
  if (against.length > 0 || only.length > 0) process.stdout.write(compare(results, against))
  else {
    await writeReport(
      results,
      CASES.map(one => one.name),
    )
    say('written: bench/results/latest.md, latest.json and the plots')
  }
  const known = new Set([
    ...laboratory.known(),
    ...results.flatMap(({ measured }) => measured.map(m => m.series)),
  ])
  const strangers = only.filter(name => !known.has(name))
  if (strangers.length === 0) return 0
  say(`bench: --peers '${strangers.join("', '")}': nobody here; there are: '${[...known].join("', '")}'`)
  return 1
}

main().then(
  status => process.exit(status),
  error => {
    console.error(error instanceof Mistake ? `bench: ${error.message}` : error)
    process.exit(1)
  },
)
