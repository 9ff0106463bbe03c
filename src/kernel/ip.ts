/**
 * iproute2 with JSON out and batches in. A batch is a list of commands in one process start; it stops at the first
 * one that fails. When the kernel refused it, ip says which it was (`Command failed -:3`); when ip itself could not
 * make sense of an argument (a device that is not there), it ends without saying.
 */
import { PortctlError } from '../core/errors.ts'
import { type Execute, firstLine, run } from './process.ts'

/** A word of a batch line; ip(8) splits lines at blanks and honours double quotes. */
const quote = (word: string): string => (/[\s"'#\\]/.test(word) ? `"${word.replaceAll('"', '')}"` : word)

/** One ip command, as its words. */
export type IpCommand = readonly string[]

/** `onFailure` is told which command failed, counted from 0, or null when ip did not say, before the rejection. */
export const ipBatch = async (
  execute: Execute,
  commands: readonly IpCommand[],
  onFailure?: (index: number | null) => void,
): Promise<void> => {
  const lines = commands.map(words => words.map(quote).join(' '))
  const { exitCode, stderr } = await execute('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` })
  if (exitCode === 0) return
  const number = /Command failed -:(\d+)/.exec(stderr)?.[1]
  const index = number === undefined ? null : Number(number) - 1
  onFailure?.(index)
  const why = firstLine(stderr) || `exit status ${exitCode}`
  const command = index === null && lines.length > 1 ? `${lines[0]}; …` : (lines[index ?? 0] ?? '')
  throw PortctlError.of('ip-failed', { command, why })
}

/** `ip -j ARGS…`; the caller states the shape, which is iproute2's. */
export const ipJson = async <T>(execute: Execute, args: readonly string[]): Promise<readonly T[]> => {
  const { stdout } = await run('ip', ['-j', ...args], {}, execute)
  return stdout.trim() === '' ? [] : (JSON.parse(stdout) as readonly T[])
}
