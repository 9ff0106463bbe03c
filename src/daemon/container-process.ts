/**
 * Commands of containers: a detached one is started here; any is found again, and ended with all that it started.
 *
 * It runs in a session of its own with its output in a file, so that it outlives control; a restarted control
 * finds it by pid and start time (a pid alone may have been given to somebody else). Its exit status is known
 * only to the process that started it: one that ends while control is away is reported with status null.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { constants as os } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { enterCommand } from '../core/enter.ts'
import { PortctlError } from '../core/errors.ts'
import { startTimeOf } from '../core/process-identity.ts'
import { netnsPath, pidsInNetns } from '../kernel/netns.ts'

export { startTimeOf }

export interface ProcessId {
  readonly pid: number
  /** Field 22 of /proc/PID/stat, clock ticks since boot. */
  readonly pidStart: number
}

export const isAlive = ({ pid, pidStart }: ProcessId): boolean => startTimeOf(pid) === pidStart

/** SIGTERM, then SIGKILL after `grace` seconds; false when it can't be ended (uninterruptible sleep). */
export const endProcess = async (id: ProcessId, grace: number): Promise<boolean> => {
  for (const [signal, seconds] of [
    ['SIGTERM', grace],
    ['SIGKILL', KILL_TIME],
  ] as const) {
    if (!isAlive(id)) return true
    send(id.pid, signal)
    for (const end = Date.now() + seconds * 1000; isAlive(id) && Date.now() < end; )
      await delay(LOOK_INTERVAL)
  }
  return !isAlive(id)
}

/** SIGKILL to all in a named namespace, and to what they start meanwhile; false when some can't be ended. */
export const killInside = async (namespace: string): Promise<boolean> => {
  for (const end = Date.now() + KILL_TIME * 1000; Date.now() < end; await delay(LOOK_INTERVAL)) {
    const pids = await pidsInNetns(netnsPath(namespace))
    if (pids.length === 0) return true
    for (const pid of pids) send(pid, 'SIGKILL')
  }
  return false
}

/** Seconds after which a killed process is not waited for any more. */
const KILL_TIME = 5
/** Milliseconds between two looks at a process that should be ending. */
const LOOK_INTERVAL = 10

const send = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended by itself.
  }
}

export interface StartOptions {
  readonly netns: string
  readonly resolvConf: string
  readonly logFile: string
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
}

export interface Started extends ProcessId {
  /** Exit status; 128 + n after signal n. */
  readonly ended: Promise<number>
}

/** Starts the command inside its namespace. @throws PortctlError `command-failed` when it can't be started. */
export const startProcess = async (options: StartOptions): Promise<Started> => {
  const [file, args] = enterCommand(options.netns, options.resolvConf, options.command)
  const log = openSync(options.logFile, 'a', 0o640)
  try {
    const child = spawn(file, args, {
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: ['ignore', log, log],
    })
    const ended = new Promise<number>(resolve =>
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : os.signals[signal]))),
    )
    await new Promise<void>((started, reject) => {
      child.once('spawn', started)
      child.once('error', cause => {
        const command = options.command[0] ?? ''
        reject(PortctlError.of('command-failed', { command, why: cause.message }, { cause }))
      })
    })
    child.unref()
    const pid = child.pid as number
    return { pid, pidStart: startTimeOf(pid) ?? 0, ended }
  } finally {
    closeSync(log)
  }
}
