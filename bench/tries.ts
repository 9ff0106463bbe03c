/**
 * Machines of CI are shared and small: a ratio that is reached once in three tries is not lost, one that is never
 * reached is. Each try measures what no earlier one has reached, and no more.
 */
import { number } from './report/format.ts'
import type { CaseResult } from './report/results.ts'
import { judge, type Target, type Verdict } from './targets.ts'

const FLOOR = 0.8
const TRIES = 3

/**
 * Resolves to whether each target held, at 0.8 of it.
 * @param attempt measures what these targets ask for
 */
export const inTries = async (
  targets: readonly Target[],
  print: (line: string) => void,
  attempt: (open: readonly Target[]) => Promise<readonly CaseResult[]>,
): Promise<boolean> => {
  let open = targets
  for (let nth = 1; nth <= TRIES && open.length > 0; nth++) {
    const verdicts = judge(await attempt(open), open)
    for (const verdict of verdicts) print(line(nth, verdict))
    const held = verdicts.filter(verdict => verdict.share >= FLOOR).map(verdict => verdict.target)
    open = open.filter(target => !held.includes(target))
  }
  for (const { title } of open)
    print(`below ${FLOOR} of its target in ${TRIES} tries, or not measured: ${title}`)
  return open.length === 0
}

const line = (nth: number, { target, median, share }: Verdict): string => {
  const goal = `${target.is} ${number(target.value)}`
  const verdict = share >= 1 ? 'met' : share >= FLOOR ? 'held' : 'BELOW'
  return `try ${nth}: ${target.title} / ${target.against ?? ''}: ${number(median)} (target ${goal}) ${verdict}`
}
