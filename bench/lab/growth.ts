/**
 * How many anonymous bytes processes have come to use in between two looks, mapping by mapping (proc(5), smaps). A total would set
 * what a garbage collector gives back of a program's start against what was taken since, by more than all that is measured.
 */
import { readFileSync } from 'node:fs'

interface Mapping {
  readonly start: number
  readonly end: number
  anonymous: number
}

const mappings = (pid: number): readonly Mapping[] => {
  const all: Mapping[] = []
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line)
    if (range !== null)
      all.push({
        start: Number.parseInt(range[1] ?? '', 16),
        end: Number.parseInt(range[2] ?? '', 16),
        anonymous: 0,
      })
    const kilobytes = /^Anonymous:\s+(\d+) kB/.exec(line)?.[1]
    const last = all.at(-1)
    if (kilobytes !== undefined && last !== undefined) last.anonymous = Number(kilobytes) * 1024
  }
  return all
}

/** Looks now; what it returns looks again and says by how much mappings have grown. Neighbours may have become one. */
export const watchGrowth = (pids: readonly number[]): (() => number) => {
  const before = new Map(pids.map(pid => [pid, mappings(pid)]))
  const grownBy = (pid: number, { start, end, anonymous }: Mapping): number => {
    const same = before.get(pid)?.filter(mapping => mapping.start >= start && mapping.start < end) ?? []
    return Math.max(0, anonymous - same.reduce((sum, mapping) => sum + mapping.anonymous, 0))
  }
  return () =>
    pids.reduce(
      (sum, pid) => sum + mappings(pid).reduce((grown, mapping) => grown + grownBy(pid, mapping), 0),
      0,
    )
}
