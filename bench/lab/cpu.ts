/**
 * CPU time of a measurement, two ways. `machine`: every busy second of every core, from /proc/stat, soft interrupts
 * included; the only figure in which the kernel path's work shows, so it is what paths are compared by. `path`: the
 * seconds of the proxy's own processes (/proc/PID/stat, children that ended included).
 */
import { readdirSync, readFileSync } from 'node:fs'

const TICKS_PER_SECOND = 100

export interface Cpu {
  readonly wall: number
  readonly machine: number
  readonly path: number
}

export const withCpu = async <T>(
  pids: readonly number[],
  work: () => Promise<T>,
): Promise<{ readonly value: T; readonly cpu: Cpu }> => {
  const before = { at: performance.now(), machine: machineSeconds(), path: treeSeconds(pids) }
  const value = await work()
  const cpu = {
    wall: (performance.now() - before.at) / 1000,
    machine: machineSeconds() - before.machine,
    path: treeSeconds(pids) - before.path,
  }
  return { value, cpu }
}

/** user, nice, system, irq, softirq of the first line of /proc/stat (proc(5)); not idle, iowait, steal, guest. */
const machineSeconds = (): number => {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/).map(Number) ?? []
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
}

interface Stat {
  readonly parent: number
  readonly seconds: number
}

/** A process may end while we read: it is then in its parent's children's time the next moment. */
const processes = (): Map<number, Stat> => {
  const all = new Map<number, Stat>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      // The name (field 2) may hold anything; what follows its last ')' starts with field 3.
      const fields = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number)
      const times = fields.slice(11, 15)
      all.set(Number(entry), {
        parent: fields[1] ?? 0,
        seconds: times.reduce((a, b) => a + b, 0) / TICKS_PER_SECOND,
      })
    } catch {}
  }
  return all
}

/** These processes and all that they started and that still run. */
export const familyOf = (roots: readonly number[]): readonly number[] => family(roots, processes())

const family = (roots: readonly number[], all: ReadonlyMap<number, Stat>): readonly number[] => {
  const belongs = (pid: number): boolean =>
    roots.includes(pid) || (all.has(pid) && belongs(all.get(pid)?.parent ?? 0))
  return [...all.keys()].filter(belongs)
}

const treeSeconds = (roots: readonly number[]): number => {
  const all = processes()
  return family(roots, all).reduce((sum, pid) => sum + (all.get(pid)?.seconds ?? 0), 0)
}

/**
 * Memory of these processes and their descendants, in bytes: pages that are shared count divided by their users, so that a sum over
 * many processes of one program makes sense (proc(5), smaps: Pss).
 */
export const memory = (roots: readonly number[]): number =>
  familyOf(roots).reduce((sum, pid) => sum + proportional(pid), 0)

const proportional = (pid: number): number => {
  try {
    const line = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))
    return Number(line?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
