/**
 * Runs a command inside a container in the foreground: our stdin, stdout and stderr are its own, signals sent to us
 * reach it, and its exit status becomes ours. The one place of the command line that starts a process.
 *
 * Life: spawn → the wrapper reports on fd 3 that it is inside (core/enter.ts) → `onStarted` → exit. The exit status is
 * given only after `onStarted` has settled, so that the daemon hears of the start before it hears of the end. If
 * `onStarted` fails, the command is killed: one that the daemon knows nothing of must not go on.
 *
 * A signal typed at a terminal (^C, ^\) is sent by the kernel to every process of the foreground group, the command
 * included; sent on by us it would arrive twice. So these two are forwarded only when no terminal is attached.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import { isatty } from 'node:tty'
import { ENTERED, enterCommand } from '../core/enter.ts'
import { PortctlError } from '../core/errors.ts'

export interface LaunchOptions {
  readonly container: { readonly name: string; readonly netns: string; readonly resolvConf: string }
  readonly command: readonly string[]
  /** Called with the pid of the command once it runs. */
  readonly onStarted?: (pid: number) => Promise<unknown>
}

/** Resolves with the exit status; 128 + n after signal n. @throws `container-setup-failed` */
export type Launch = (options: LaunchOptions) => Promise<number>

const REPORT_FD = 3
const FROM_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT']
const FORWARDED: readonly NodeJS.Signals[] = [...FROM_TERMINAL, 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']

export const launch: Launch = async ({ container, command, onStarted }) => {
  const [file, args] = enterCommand(container.netns, container.resolvConf, command, REPORT_FD)
  const child = spawn(file, args, { stdio: ['inherit', 'inherit', 'inherit', 'pipe'] })
  const stopForwarding = forwardSignals(child.kill.bind(child))
  const failed = (why: string, cause?: unknown) =>
    PortctlError.of('container-setup-failed', { name: container.name, why }, { cause })
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', cause => reject(failed(cause.message, cause)))
    child.once('exit', (status, signal) => resolve(status ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
  try {
    const report = await Promise.race([readAll(child.stdio[REPORT_FD] as Readable), ended.then(() => '')])
    if (report !== ENTERED) throw failed(report.trim() || `${file} ended with status ${await ended}`)
    await onStarted?.(child.pid as number)
    return await ended
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    stopForwarding()
  }
}

const readAll = async (stream: Readable): Promise<string> => {
  let text = ''
  for await (const chunk of stream.setEncoding('utf8')) text += chunk as string
  return text
}

const forwardSignals = (send: (signal: NodeJS.Signals) => void): (() => void) => {
  const terminal = [0, 1, 2].some(fd => isatty(fd))
  const listeners = FORWARDED.map(signal => {
    const listener = (): void => {
      if (!(terminal && FROM_TERMINAL.includes(signal))) send(signal)
    }
    process.on(signal, listener)
    return [signal, listener] as const
  })
  return () => {
    for (const [signal, listener] of listeners) process.off(signal, listener)
  }
}
