/**
 * The guard of CI: the core ratios, medians of three rounds, in up to three tries for those below 0.8 of their target.
 * Machines of CI are shared and small: a ratio that is reached once in three is not lost, one that is never reached is.
 *
 * What Docker takes for the same range is not measured again but read from the results: it takes minutes.
 */
import { CASES } from './cases/index.ts'
import { openLaboratory } from './lab/laboratory.ts'
import { measure } from './measure.ts'
import { number } from './report/format.ts'
import { type CaseResult, readResults } from './report/results.ts'
import { judge, TARGETS, type Target, type Verdict } from './targets.ts'

const FLOOR = 0.8
const TRIES = 3
const ROUNDS = 3
const PEERS = ['direct', 'portctl kernel', 'portctl relay', 'docker-proxy', 'portctl, 1,000 ports']

/** Resolves to whether every guarded ratio held. */
export const guard = async (say: (line: string) => void): Promise<boolean> => {
  const recorded = (await readResults())?.cases ?? []
  // Nothing is measured again when CPUs are moved: it has to end in time, and has three tries.
  const laboratory = {
    ...openLaboratory({ say, only: PEERS, seconds: 1, against: [] }),
    coreLatency: () => 0,
  }
  let open: readonly Target[] = TARGETS.filter(target => target.guard)
  for (let attempt = 1; attempt <= TRIES && open.length > 0; attempt++) {
    const cases = CASES.filter(one => open.some(target => target.case === one.name))
    const results = await measure(cases, laboratory, ROUNDS, say)
    const verdicts = judge(
      results.map(one => completed(one, recorded)),
      open,
    )
    for (const verdict of verdicts) console.log(line(attempt, verdict))
    const held = verdicts.filter(verdict => verdict.share >= FLOOR).map(verdict => verdict.target)
    open = open.filter(target => !held.includes(target))
  }
  for (const target of open)
    console.log(`below ${FLOOR} of its target in ${TRIES} tries, or not measured: ${target.title}`)
  return open.length === 0
}

/** With the contestants of the recorded run that did not take part now. */
const completed = (one: CaseResult, recorded: readonly CaseResult[]): CaseResult => {
  const before = recorded.find(r => r.name === one.name)?.measured ?? []
  const absent = before.filter(old => !one.measured.some(m => m.series === old.series && m.x === old.x))
  return { ...one, measured: [...one.measured, ...absent] }
}

const line = (attempt: number, { target, median, share }: Verdict): string => {
  const goal = `${target.is} ${number(target.value)}`
  const verdict = share >= 1 ? 'met' : share >= FLOOR ? 'held' : 'BELOW'
  return `try ${attempt}: ${target.title} / ${target.against ?? ''}: ${number(median)} (target ${goal}) ${verdict}`
}
