import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '../lab/paths.ts'
import { judge } from '../targets.ts'
import { describeMachine } from './machine.ts'
import { markdown } from './markdown.ts'
import { plotFiles } from './plot.ts'
import { type CaseResult, readResults, writeResults } from './results.ts'

/** Replaces the cases that ran, keeps the others, and draws everything anew. `order` is the order of the report. */
export const writeReport = async (ran: readonly CaseResult[], order: readonly string[]): Promise<void> => {
  const kept = (await readResults())?.cases.filter(old => !ran.some(one => one.name === old.name)) ?? []
  const cases = [...kept, ...ran].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
  const results = await writeResults({ machine: await describeMachine(), cases })
  await writeFile(join(paths.results, 'latest.md'), markdown(results, judge(results.cases)))
  for (const plot of results.cases.flatMap(plotFiles))
    await writeFile(join(paths.results, plot.file), plot.svg())
}
