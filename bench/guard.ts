/**
 * The guard of CI: the core ratios, medians of three rounds, in up to three tries (tries.ts).
 *
 * What Docker takes for the same range is not measured again but read from the results: it takes minutes.
 */
import type { Case } from './cases/case.ts'
import { CASES } from './cases/index.ts'
import { openLaboratory } from './lab/laboratory.ts'
import { measure } from './measure.ts'
import { readResults } from './report/results.ts'
import { TARGETS, type Target } from './targets.ts'
import { inTries } from './tries.ts'

const ROUNDS = 3
const GUARDED = TARGETS.filter(target => target.guard)
const RECORDED = 'docker run -p, 1,000 ports'

/** Resolves to whether every guarded ratio held. */
export const guard = async (say: (line: string) => void): Promise<boolean> => {
  const recorded = new Map(
    (await readResults())?.cases.map(one => [one.name, one.measured.filter(m => m.series === RECORDED)]),
  )
  const only = namesIn(GUARDED).filter(name => name !== RECORDED)
  // Nothing is measured again when CPUs are moved: it has to end in time, and has three tries.
  const laboratory = { ...openLaboratory({ say, only, seconds: 1, against: [] }), coreLatency: () => 0 }
  return inTries(GUARDED, console.log, async open => {
    const results = await measure(casesOf(open), laboratory, ROUNDS, say)
    return results.map(one => ({ ...one, measured: [...one.measured, ...(recorded.get(one.name) ?? [])] }))
  })
}

const namesIn = (targets: readonly Target[]): readonly string[] =>
  targets.flatMap(({ of, against }) => [of, ...(against === null ? [] : [against])])

/** The cases of the targets, each with the contestants that these compare. */
const casesOf = (targets: readonly Target[]): readonly Case[] =>
  CASES.flatMap(one => {
    const names = namesIn(targets.filter(target => target.case === one.name))
    if (names.length === 0) return []
    const contestants: Case['contestants'] = async laboratory =>
      (await one.contestants(laboratory)).filter(({ series }) => names.includes(series))
    return [{ ...one, contestants }]
  })
