/** Tells a process from a later one with the same pid, also after a reboot. */
import { readFileSync } from 'node:fs'

/** Field 22 of /proc/PID/stat, clock ticks since boot; null when there is no such process (a zombie counts as none). proc(5). */
export const startTimeOf = (pid: number): number | null => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? null : Number(fields[19])
  } catch {
    return null
  }
}

export interface ProcessRef {
  readonly pid: number
  /** `BOOT:START`: random(4), /proc/sys/kernel/random/boot_id, and the start time. */
  readonly identity: string
}

let boot: string | undefined

/** Null when there is no such process. */
export const identityOf = (pid: number): string | null => {
  const start = startTimeOf(pid)
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  return start === null ? null : `${boot}:${start}`
}

/**
 * Whether the process is still there. What was opened under /proc/PID *before* a call that returns true was its own: a pid
 * is given to another only after it has ended.
 */
export const isRunning = ({ pid, identity }: ProcessRef): boolean => identityOf(pid) === identity
