/**
 * The guard of CI: the core ratios, medians of three rounds, in up to three tries (tries.ts).
 *
 * What Docker takes for the same range is not measured again but read from the results: it takes minutes.
 */
import type { Case, Contestant } from './cases/case.ts'
import { CASES } from './cases/index.ts'
import { type Laboratory, openLaboratory } from './lab/laboratory.ts'
import { measure } from './measure.ts'
import { readResults } from './report/results.ts'
import { label } from './rounds.ts'
import { DOCKER_PORTS, TARGETS, type Target } from './targets.ts'
import { inTries } from './tries.ts'

const ROUNDS = 3
const GUARDED = TARGETS.filter(target => target.guard)

/** Resolves to whether every guarded ratio held. */
export const guard = async (say: (line: string) => void): Promise<boolean> => {
  const recorded = new Map(
    (await readResults())?.cases.map(one => [one.name, one.measured.filter(m => m.series === DOCKER_PORTS)]),
  )
  const only = namesIn(GUARDED).filter(name => name !== DOCKER_PORTS)
  // Nothing is measured again when CPUs are moved: it has to end in time, and has three tries.
  const laboratory = { ...openLaboratory({ say, only, seconds: 1, against: [] }), coreLatency: () => 0 }
  const cases = CASES.filter(one => GUARDED.some(target => target.case === one.name)).map(keepContestants)
  return inTries(GUARDED, console.log, async open => {
    const results = await measure(
      cases.flatMap(one => narrowed(one, open)),
      laboratory,
      ROUNDS,
      say,
    )
    return results.map(one => ({ ...one, measured: [...one.measured, ...(recorded.get(one.name) ?? [])] }))
  })
}

const namesIn = (targets: readonly Target[]): readonly string[] =>
  targets.flatMap(({ of, against }) => [of, ...(against === null ? [] : [against])])

/** The same contestants in every try: worlds cannot be made twice. */
const keepContestants = (one: Case): Case => {
  let kept: Promise<readonly Contestant[]> | undefined
  const contestants = (laboratory: Laboratory) => {
    kept ??= one.contestants(laboratory)
    return kept
  }
  return { ...one, contestants }
}

/** With those contestants that the targets compare; nothing, when they are about other cases. */
const narrowed = (one: Case, targets: readonly Target[]): readonly Case[] => {
  const names = namesIn(targets.filter(target => target.case === one.name))
  if (names.length === 0) return []
  const contestants: Case['contestants'] = async laboratory =>
    (await one.contestants(laboratory)).filter(({ series, x }) => names.includes(label(series, x)))
  return [{ ...one, contestants }]
}
