/**
 * The only place that starts helper processes (nft, ip, conntrack, nsenter). No shell is involved: arguments are
 * passed as they are. A failure is a PortctlError that names the tool and the first line it wrote to stderr.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, existsSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PortctlError } from '../core/errors.ts'
import { loadLibc } from './libc/index.ts'
import { type Ending, MAX_OUTPUT, type Outcome, type Start, type Stop } from './start.ts'
import { createStartByVfork } from './start-vfork.ts'

export type { Outcome } from './start.ts'

export interface RunOptions {
  /** What the tool reads on stdin; without it stdin is /dev/null. */
  readonly input?: string
  readonly signal?: AbortSignal
  /** Milliseconds; the tool is killed when they run out. */
  readonly timeout?: number
  /** File descriptors that the tool gets as 3, 4, … */
  readonly inherit?: readonly number[]
}

export type Output = Pick<Outcome, 'stdout' | 'stderr'>

/** Starts a tool and hands back how it ended. Rejects only when it did not end by itself (missing, killed, timed out). */
export type Execute = (command: string, args: readonly string[], options?: RunOptions) => Promise<Outcome>

const DEFAULT_TIMEOUT = 30_000

export const execute: Execute = async (command, args, options = {}) => {
  const input = options.input === undefined ? undefined : unnamedFile(options.input)
  try {
    const ending = await start(command, args, {
      stdin: input,
      inherit: options.inherit ?? [],
      // Messages of the tools are classified by their text.
      env: { ...process.env, LC_ALL: 'C' },
      signal: options.signal,
      timeout: options.timeout ?? DEFAULT_TIMEOUT,
    })
    if ('exitCode' in ending) return ending
    throw failure(command, ending)
  } finally {
    if (input !== undefined) closeSync(input)
  }
}

/** RAM where there is some to write to: a full disk must not stop a rule from being taken back. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/**
 * nft (in JSON) and conntrack take `-` for the file /dev/stdin, and opening that fails (ENXIO) on the socket that Node
 * gives a child to read from. So stdin is a file that has no name any more.
 */
const unnamedFile = (text: string): number => {
  const path = join(SCRATCH, `portctl-${randomUUID()}`)
  const fd = openSync(path, 'wx+', 0o600)
  try {
    unlinkSync(path)
    // At a given position: the offset, which the tool inherits, stays at the start.
    const bytes = Buffer.from(text)
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, done)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** By posix_spawn(3), or where libc cannot be called by Node's own means. */
const loadStart = async (): Promise<Start> => {
  try {
    return createStartByVfork(await loadLibc())
  } catch (error) {
    if (!(error instanceof PortctlError && error.code === 'libc-unavailable')) throw error
    return (await import('./start-execa.ts')).startByExeca
  }
}

let loaded: Promise<Start> | undefined
const start: Start = async (command, args, setting) => {
  // execve(2) takes it for the end of the string.
  const words = [command, ...args, ...Object.values(setting.env)]
  if (words.some(word => word?.includes('\0'))) return { notStarted: 'EINVAL' }
  loaded ??= loadStart()
  return (await loaded)(command, args, setting)
}

const STOPPED: Readonly<Record<Stop, string>> = {
  timeout: 'it did not end in time',
  cancelled: 'it was cancelled',
  output: `it wrote more than ${MAX_OUTPUT / 2 ** 20} MiB`,
}

const failure = (tool: string, ending: Exclude<Ending, Outcome>): PortctlError => {
  const because = { cause: ending }
  if ('notStarted' in ending) {
    const { notStarted: code } = ending
    if (code === 'ENOENT') return PortctlError.of('tool-missing', { tool }, because)
    return PortctlError.of('tool-failed', { tool, why: `it could not be started (${code})` }, because)
  }
  const why = 'stopped' in ending ? STOPPED[ending.stopped] : `it was killed by ${ending.killed}`
  return PortctlError.of('tool-failed', { tool, why }, because)
}

/** First line with anything in it. */
export const firstLine = (text: string): string =>
  text
    .split('\n')
    .map(line => line.trim())
    .find(line => line !== '') ?? ''

/** The same tools inside another network namespace, given by its path (`/run/netns/NAME`, `/proc/PID/ns/net`). */
export const inNetns =
  (path: string): Execute =>
  async (command, args, options) => {
    const outcome = await execute('nsenter', [`--net=${path}`, '--', command, ...args], options)
    // nsenter(1) exits with 127 when the command is not there, as a shell does.
    if (outcome.exitCode === 127) throw PortctlError.of('tool-missing', { tool: command })
    return outcome
  }

/** Turns an exit status other than 0 into `tool-failed`. */
export const succeed = (tool: string, outcome: Outcome): Output => {
  if (outcome.exitCode === 0) return outcome
  const why = firstLine(outcome.stderr) || `exit status ${outcome.exitCode}`
  throw PortctlError.of('tool-failed', { tool, why })
}

/** Runs a tool to success, in this network namespace unless told otherwise. */
export const run = async (
  command: string,
  args: readonly string[],
  options?: RunOptions,
  how: Execute = execute,
): Promise<Output> => succeed(command, await how(command, args, options))
