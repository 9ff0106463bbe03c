/**
 * Starts the daemon in the background when none answers.
 *
 * The daemon gets one end of a pipe as file descriptor `PORTCTL_READY_FD`. It writes `ready`, or the error that keeps
 * it from starting, and closes it; if it dies first, the kernel closes it. So the waiting side never polls and never
 * waits for a daemon that is dead.
 *
 * Concurrent starts: each command starts a daemon, one of them gets the lock of the run directory (daemon/lock.ts), the
 * others end with `daemon-running`, and their commands wait for the winner's socket, which appears by rename once it is
 * served. A holder of the lock that ends instead was being stopped, and the start is tried again. `state-in-use` ends
 * the command: that daemon serves another run directory.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, watch, writeSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { PortctlError } from '../core/errors.ts'
import { describeFault } from '../core/os-error.ts'
import { parseErrorBody, socketPath, unreachable } from './client.ts'

export interface AutostartOptions {
  readonly runDir: string
  readonly stateDir: string
  /** Where `portctl.cjs` is. */
  readonly distDir: string
  readonly env: NodeJS.ProcessEnv
  /** Told once, when a daemon is being started. */
  readonly notify: (line: string) => void
}

const READY_FD = 3
const READY = 'ready'
/** Milliseconds. A start takes under 400; re-adopting tens of thousands of publications takes longer. */
const START_TIMEOUT = 30_000
/** Milliseconds that a daemon which could not start is given to end. */
const END_TIMEOUT = 1_000
/** Milliseconds between looks at whether the holder of the lock still lives. */
const HOLDER_CHECK = 100

/** Resolves when a daemon answers; `true` when it had to be started. */
export const ensureDaemon = async (options: AutostartOptions): Promise<boolean> => {
  const socket = socketPath(options.runDir)
  if (await answers(socket)) return false
  options.notify(`starting the portctl daemon in the background (log: ${logPath(options.stateDir)})`)
  const deadline = Date.now() + START_TIMEOUT
  for (;;) {
    try {
      await startDaemon(options)
      return true
    } catch (error) {
      if (!(error instanceof PortctlError) || error.code !== 'daemon-running' || Date.now() > deadline)
        throw error
      if (await otherServes(socket, options.runDir, error.details.pid, deadline)) return true
    }
  }
}

const logPath = (stateDir: string): string => join(stateDir, 'daemon.log')

/** Called by the daemon once it serves, or with what keeps it from serving. Does nothing when nobody waits. */
export const signalReady = (error?: PortctlError): void => {
  const fd = Number(process.env.PORTCTL_READY_FD)
  delete process.env.PORTCTL_READY_FD
  if (!Number.isInteger(fd) || fd < READY_FD) return
  try {
    writeSync(fd, `${error === undefined ? READY : JSON.stringify(error)}\n`)
  } catch (cause) {
    // EPIPE: whoever waited has gone, which is no reason for the daemon to end.
    if ((cause as NodeJS.ErrnoException).code !== 'EPIPE') throw cause
  } finally {
    closeSync(fd)
  }
}

const startDaemon = async (options: AutostartOptions): Promise<void> => {
  const log = logPath(options.stateDir)
  const output = openLog(options.stateDir)
  const child = spawn(process.execPath, [join(options.distDir, 'portctl.cjs'), 'daemon'], {
    detached: true,
    cwd: '/',
    env: {
      ...options.env,
      PORTCTL_RUN_DIR: options.runDir,
      PORTCTL_STATE_DIR: options.stateDir,
      PORTCTL_READY_FD: String(READY_FD),
    },
    stdio: ['ignore', output, output, 'pipe'],
  })
  closeSync(output)
  const fail = (why: string, cause?: unknown) =>
    PortctlError.of('daemon-start-failed', { why, log }, { cause })
  const ended = new Promise<string>(resolve => {
    child.on('error', error => resolve(error.message))
    child.on('exit', (status, signal) =>
      resolve(signal === null ? `it ended with status ${status}` : `it was killed by ${signal}`),
    )
  })
  if (child.pid === undefined) throw fail(await ended)
  const ready = child.stdio[READY_FD] as Readable
  const timer = setTimeout(() => ready.destroy(fail('it did not get ready in time')), START_TIMEOUT)
  try {
    let text = ''
    for await (const chunk of ready.setEncoding('utf8')) text += chunk as string
    if (text.trim() === READY) return
    const body = parseErrorBody(text)
    if (body === undefined) throw fail(await ended)
    // It is on its way out; nothing of it is to be left once the command tells why.
    await Promise.race([ended, sleep(END_TIMEOUT, undefined, { ref: false })])
    throw PortctlError.from(body)
  } finally {
    clearTimeout(timer)
    ready.destroy()
    child.unref()
  }
}

/** Connects once. A daemon that is there but may not be talked to is not started again. */
const answers = (socket: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const connection = connectSocket(socket, () => {
      connection.destroy()
      resolve(true)
    })
    connection.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(false)
      else reject(unreachable(socket, error))
    })
  })

/**
 * Waits for the daemon that holds the lock: `true` once it serves; `false` when it has ended instead (it was on its way
 * out) or the time is over.
 */
const otherServes = async (
  socket: string,
  runDir: string,
  pid: unknown,
  deadline: number,
): Promise<boolean> => {
  const done = new AbortController()
  try {
    return await new Promise<boolean>((resolve, reject) => {
      const attempt = (): void => {
        answers(socket).then(yes => yes && resolve(true), reject)
      }
      watch(runDir, { signal: done.signal }, attempt).on('error', reject)
      // Node can't wait for the end of a process that is not its child.
      const timer = setInterval(() => {
        if (Date.now() > deadline || !isAlive(pid)) resolve(false)
      }, HOLDER_CHECK)
      done.signal.addEventListener('abort', () => clearInterval(timer))
      // The socket may have appeared before the watch began.
      attempt()
    })
  } finally {
    done.abort()
  }
}

/** `pid` as the error has it: null when the holder has not yet said who it is. */
const isAlive = (pid: unknown): boolean => {
  if (typeof pid !== 'number') return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

const openLog = (stateDir: string): number => {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    return openSync(logPath(stateDir), 'a', 0o600)
  } catch (cause) {
    throw PortctlError.of(
      'state-unreadable',
      { path: logPath(stateDir), why: describeFault(cause) },
      { cause },
    )
  }
}
