/**
 * The only place that starts helper processes (nft, ip, conntrack, nsenter). No shell is involved: arguments are
 * passed as they are. A failure is a PortctlError that names the tool and the first line it wrote to stderr.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, existsSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { PortctlError } from '../core/errors.ts'

export interface RunOptions {
  /** What the tool reads on stdin; without it stdin is /dev/null. */
  readonly input?: string
  readonly signal?: AbortSignal
  /** Milliseconds; the tool is killed when they run out. */
  readonly timeout?: number
  /** File descriptors that the tool gets as 3, 4, … */
  readonly inherit?: readonly number[]
}

export interface Output {
  readonly stdout: string
  readonly stderr: string
}

export interface Outcome extends Output {
  readonly exitCode: number
}

/** Starts a tool and hands back how it ended. Rejects only when it did not end by itself (missing, killed, timed out). */
export type Execute = (command: string, args: readonly string[], options?: RunOptions) => Promise<Outcome>

const DEFAULT_TIMEOUT = 30_000
/** Bytes; a conntrack dump of a full table (262,144 flows) is about 45 MB. */
const MAX_OUTPUT = 256 * 1024 * 1024

export const execute: Execute = async (command, args, options = {}) => {
  const input = options.input === undefined ? undefined : unnamedFile(options.input)
  try {
    return await start(command, args, input, options)
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

/** execa takes any descriptor; its types know of 3 to 9. */
const descriptor = (fd: number): 3 => fd as 3

const start = async (
  command: string,
  args: readonly string[],
  input: number | undefined,
  { inherit = [], signal, timeout }: RunOptions,
): Promise<Outcome> => {
  const result = await execa(command, args, {
    reject: false,
    // Short-lived tools with a timeout of their own: no exit hook on every signal for each of them.
    cleanup: false,
    stdio: [input === undefined ? 'ignore' : descriptor(input), 'pipe', 'pipe', ...inherit.map(descriptor)],
    ...(signal === undefined ? {} : { cancelSignal: signal }),
    timeout: timeout ?? DEFAULT_TIMEOUT,
    maxBuffer: MAX_OUTPUT,
    stripFinalNewline: false,
    // Messages of the tools are classified by their text.
    env: { LC_ALL: 'C' },
  })
  const { exitCode, stdout, stderr } = result
  if (exitCode !== undefined) return { stdout, stderr, exitCode }
  const because = { cause: result }
  if (result.code === 'ENOENT') throw PortctlError.of('tool-missing', { tool: command }, because)
  throw PortctlError.of('tool-failed', { tool: command, why: reason(result) }, because)
}

interface Ending {
  readonly timedOut: boolean
  readonly isCanceled: boolean
  readonly signal?: string | undefined
  readonly code?: string | undefined
}

const reason = ({ timedOut, isCanceled, signal, code }: Ending): string => {
  if (timedOut) return 'it did not end in time'
  if (isCanceled) return 'it was cancelled'
  return signal === undefined
    ? `it could not be started (${code ?? 'unknown'})`
    : `it was killed by ${signal}`
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
