/**
 * The command of a detached container: started here, watched until its end.
 *
 * It runs in a session of its own with its output in a file, so that it outlives control; a restarted control
 * finds it by pid and start time (a pid alone may have been given to somebody else). Its exit status is known
 * only to the process that started it: one that ends while control is away is reported with status null.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { constants as os } from 'node:os'
import { enterCommand } from '../core/enter.ts'
import { PortctlError } from '../core/errors.ts'

export interface ProcessId {
  readonly pid: number
  /** Field 22 of /proc/PID/stat, clock ticks since boot. */
  readonly pidStart: number
}

/** Start time of a process, or null when there is none (a zombie counts as none). proc(5), /proc/PID/stat. */
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

export const isAlive = ({ pid, pidStart }: ProcessId): boolean => startTimeOf(pid) === pidStart

export interface StartOptions {
  readonly netns: string
  readonly resolvConf: string
  readonly logFile: string
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  /** Exit status; 128 + n after signal n. */
  readonly onExit: (status: number) => void
}

/** Starts the command inside its namespace. @throws PortctlError `command-failed` when it can't be started. */
export const startProcess = async (options: StartOptions): Promise<ProcessId> => {
  const [file, args] = enterCommand(options.netns, options.resolvConf, options.command)
  const log = openSync(options.logFile, 'a', 0o640)
  try {
    const child = spawn(file, args, {
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: ['ignore', log, log],
    })
    await new Promise<void>((started, reject) => {
      child.once('spawn', started)
      child.once('error', cause =>
        reject(
          PortctlError.of(
            'command-failed',
            { command: options.command[0] ?? '', why: cause.message },
            { cause },
          ),
        ),
      )
    })
    child.once('exit', (code, signal) =>
      options.onExit(code ?? 128 + (signal === null ? 0 : os.signals[signal])),
    )
    child.unref()
    const pid = child.pid as number
    return { pid, pidStart: startTimeOf(pid) ?? 0 }
  } finally {
    closeSync(log)
  }
}
