/**
 * Starts processes inside namespaces. Nothing here ends them for good: run.mjs put the whole bench into a pid
 * namespace, so they all end with it; `stop` is for what must be gone before the next measurement.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { paths } from './paths.ts'

/** A network namespace by its file. */
export interface Netns {
  readonly path: string
}

const enter = (netns: Netns, command: readonly string[]): readonly [string, ...string[]] => [
  'nsenter',
  `--net=${netns.path}`,
  '--',
  ...command,
]

interface RunOptions {
  readonly timeout?: number
  /** Milliseconds after which it gets a SIGINT. */
  readonly interrupt?: number
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a command to its end and returns its stdout. Throws with its output when it fails or takes too long. */
export const run = async (
  netns: Netns | null,
  command: readonly string[],
  { timeout = 60_000, interrupt, input, env = {} }: RunOptions = {},
): Promise<string> => {
  const [file, ...args] = netns === null ? command : enter(netns, command)
  if (file === undefined) throw new Error('empty command')
  const running = execa(file, args, { timeout, env, ...(input === undefined ? {} : { input }) })
  if (interrupt !== undefined) setTimeout(() => running.kill('SIGINT'), interrupt)
  const { stdout } = await running
  return stdout
}

export interface Started {
  readonly pid: number
  readonly child: ChildProcess
  stop(signal?: NodeJS.Signals): Promise<void>
}

let logs = 0

interface StartOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Descriptors from 3 on. */
  readonly extraFds?: readonly ('pipe' | 'ipc')[]
  /** `pipe`: the caller reads it. */
  readonly stdout?: 'log' | 'pipe'
}

/**
 * Starts a long-lived command; its output goes to a file in the work directory. In a session of its own, as a service
 * manager or a container runtime would: the scheduler shares the CPUs out by session first (sched_autogroup, sched(7)), so
 * peers in the session of the load would be measured against each other's share of it.
 */
export const start = (
  netns: Netns,
  command: readonly string[],
  { env = {}, extraFds = [], stdout = 'log' }: StartOptions = {},
): Started => {
  const log = openSync(join(paths.work, `${logs++}-${command[0]?.replaceAll('/', '_')}.log`), 'a')
  const [file, ...args] = enter(netns, command)
  const stdio: StdioOptions = ['ignore', stdout === 'pipe' ? 'pipe' : log, log, ...extraFds]
  const child = spawn(file, args, { stdio, env: { ...process.env, ...env }, detached: true })
  closeSync(log)
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  if (child.pid === undefined) throw new Error(`could not start ${command.join(' ')}`)
  return {
    pid: child.pid,
    child,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal)
      await exited
    },
  }
}

/** Polls until `check` holds; `what` names what is missing when the time is up. */
export const until = async (
  what: string,
  check: () => Promise<boolean> | boolean,
  timeout = 10_000,
): Promise<void> => {
  const deadline = performance.now() + timeout
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeout / 1000} s`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** True when something in the namespace listens on the TCP port or has the UDP port bound. */
export const listening = async (netns: Netns, port: number, protocol: 'tcp' | 'udp' = 'tcp') =>
  (await run(netns, ['ss', '-Hnl', `--${protocol}`, `sport = :${port}`])) !== ''
