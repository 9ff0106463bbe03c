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

/** Seconds of these processes and all their descendants. */
const treeSeconds = (roots: readonly number[]): number => {
  const all = processes()
  const belongs = (pid: number): boolean =>
    roots.includes(pid) || (all.has(pid) && belongs(all.get(pid)?.parent ?? 0))
  let sum = 0
  for (const [pid, { seconds }] of all) if (belongs(pid)) sum += seconds
  return sum
}

/** Memory of these processes alone, in bytes: pages no file backs (smaps_rollup), what a process really costs. */
export const anonymousMemory = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + smaps(pid, 'Anonymous'), 0)

/** Proportional set size in bytes: shared pages divided among their users, so that sums over processes make sense. */
export const proportionalMemory = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + smaps(pid, 'Pss'), 0)

const smaps = (pid: number, key: string): number => {
  const line = new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(
    readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'),
  )
  return Number(line?.[1] ?? 0) * 1024
}
