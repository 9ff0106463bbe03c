/**
 * The only place that starts helper processes (nft, ip, conntrack, nsenter). No shell is involved: arguments are
 * passed as they are. A failure is a PortctlError that names the tool and the first line it wrote to stderr.
 */
import { execa } from 'execa'
import { PortctlError } from '../core/errors.ts'

export interface RunOptions {
  /** Written to stdin, which is then closed, or the descriptor that becomes stdin; without it stdin is /dev/null. */
  readonly input?: string | number
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
  const result = await execa(command, args, {
    reject: false,
    ...(typeof options.input === 'string' ? { input: options.input } : {}),
    stdio: [stdinOf(options.input), 'pipe', 'pipe', ...(options.inherit ?? []).map(descriptor)],
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    timeout: options.timeout ?? DEFAULT_TIMEOUT,
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

/** execa takes any descriptor; its types know of 3 to 9. */
const descriptor = (fd: number): 3 => fd as 3

const stdinOf = (input: string | number | undefined): 3 | 'pipe' | 'ignore' => {
  if (typeof input === 'string') return 'pipe'
  return input === undefined ? 'ignore' : descriptor(input)
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
