/**
 * One round: every contestant once, all of them on the same machine.
 *
 * A host moves the CPUs of a virtual machine (lab/core-latency.ts), and a contestant that was measured while they were near
 * must not be compared with one that was measured while they were far apart. So a look is taken between samples, and those of
 * a round that saw another distance than there is at its end are taken again, in the same order: at most `AGAIN` times, then
 * the round stands as it is. Samples that took long are not repeated: what spans seconds spans moves.
 */
import { ExecaError } from 'execa'
import type { Contestant } from './cases/case.ts'
import { type CoreLatency, isFar } from './lab/core-latency.ts'

const AGAIN = 2
/** Seconds. */
const LONG = 4

export interface Entry {
  readonly contestant: Contestant
  /** By metric, one value a round. */
  readonly samples: Record<string, number[]>
  /** Nanoseconds, at the end of each of these samples. */
  readonly coreLatency: number[]
  /** One that fails is out of the case, with its reason; the samples before are still good. */
  failed?: string
}

interface Take {
  readonly entry: Entry
  readonly values: Readonly<Record<string, number>>
  readonly before: number
  readonly after: number
  readonly seconds: number
}

export const takeRound = async (
  entries: readonly Entry[],
  coreLatency: CoreLatency,
  progress: (entry: Entry, again: boolean) => void,
): Promise<void> => {
  const takes = new Map<Entry, Take>()
  let now = coreLatency()
  let due = entries
  for (let pass = 0; pass <= AGAIN && due.length > 0; pass++) {
    for (const entry of due) {
      progress(entry, pass > 0)
      const before = now
      const begun = performance.now()
      const values = await sample(entry)
      const seconds = (performance.now() - begun) / 1000
      now = coreLatency()
      if (values === null) takes.delete(entry)
      else takes.set(entry, { entry, values, before, after: now, seconds })
    }
    due = [...takes.values()].filter(take => isOdd(take, now)).map(({ entry }) => entry)
  }
  for (const { entry, values, after } of takes.values()) {
    for (const [metric, value] of Object.entries(values)) {
      entry.samples[metric] ??= []
      entry.samples[metric].push(value)
    }
    entry.coreLatency.push(after)
  }
}

/** Whether a sample saw another distance than the round ended with, and can be repeated. */
const isOdd = ({ before, after, seconds, entry }: Take, now: number): boolean =>
  entry.failed === undefined &&
  seconds < LONG &&
  (isFar(before) !== isFar(now) || isFar(after) !== isFar(now))

const sample = async (entry: Entry): Promise<Readonly<Record<string, number>> | null> => {
  try {
    return await entry.contestant.measure()
  } catch (error) {
    const said = error instanceof ExecaError ? String(error.stderr) : String(error)
    entry.failed = said.split('\n', 1)[0] ?? said
    return null
  }
}
