/**
 * How control gets at a relay: `connectRelay` adopts one that runs, `spawnRelay` starts one. This is the one place
 * that starts the relay process.
 *
 * The relay is a session leader of its own (setsid), holds nothing of control but the log's file descriptor and
 * survives it. It tells that it is ready, or why it is not, through a pipe (fd 3), so nothing is polled:
 * `{}` when its socket answers, else an ErrorBody; end of file without either means that it died.
 *
 * Privileges (capabilities(7)), when control is root. On the way to node, `sh` raises the hard limit of open files
 * as far as the kernel lets it (node raises its soft limit to it), then setpriv(1) leaves only what is used, for good
 * (bounding set, no_new_privs):
 *   CAP_NET_BIND_SERVICE  ports below net.ipv4.ip_unprivileged_port_start
 *   CAP_SYS_ADMIN         setns(2) into the namespace of a `netns:` or `pid:` target; pipes beyond pipe-user-pages-soft
 *   CAP_SYS_PTRACE        opening /proc/PID/ns/net of a process with more capabilities than the relay (ptrace(2))
 * Without setpriv on the machine the relay keeps what control has.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { type ErrorBody, PortctlError } from '../core/errors.ts'
import { connectRelay, type RelayClient } from './channel-client.ts'
import type { Engine } from './engine.ts'

export { connectRelay, type RelayClient } from './channel-client.ts'

export interface SpawnRelayOptions {
  /** Holds `relay.sock`. */
  readonly runDir: string
  readonly engine?: Engine['name']
  /** Data-path threads; the relay chooses by the machine when it is not given. */
  readonly workers?: number
  /** Where the relay's log lines go. */
  readonly logFd: number
  /** Holds `relay.cjs`. */
  readonly distDir: string
  readonly signal?: AbortSignal
}

export const relaySocket = (runDir: string): string => join(runDir, 'relay.sock')

const CAPABILITIES = ['net_bind_service', 'sys_admin', 'sys_ptrace']

/** Milliseconds; starting takes about 150 on an idle machine. */
const START_TIMEOUT = 15_000

/** Starts a relay and resolves when it answers. @throws `relay-start-failed`, `relay-running`, the signal's reason */
export const spawnRelay = async (options: SpawnRelayOptions): Promise<RelayClient> => {
  const { runDir, engine, workers, logFd, distDir, signal } = options
  signal?.throwIfAborted()
  const path = relaySocket(runDir)
  const [file, ...args] = confined([
    process.execPath,
    join(distDir, 'relay.cjs'),
    `--socket=${path}`,
    '--ready-fd=3',
    ...(engine === undefined ? [] : [`--engine=${engine}`]),
    ...(workers === undefined ? [] : [`--workers=${workers}`]),
  ])
  const child = spawn(file, args, {
    cwd: '/',
    detached: true,
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'ignore', logFd, 'pipe'],
  })
  child.unref()
  const limit = AbortSignal.timeout(START_TIMEOUT)
  try {
    await ready(child, signal === undefined ? limit : AbortSignal.any([signal, limit]))
    return await connectRelay(path, signal === undefined ? {} : { signal })
  } catch (error) {
    child.kill('SIGKILL')
    if (signal?.aborted === true) throw signal.reason
    if (limit.aborted)
      throw PortctlError.of('relay-start-failed', { why: `not ready in ${START_TIMEOUT} ms` })
    throw error
  }
}

const ready = async (child: ChildProcess, signal: AbortSignal): Promise<void> => {
  const pipe = child.stdio[3] as Readable
  const ended = new Promise<string>(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('exit', (code, by) =>
      resolve(by === null ? `it ended with status ${code}` : `it was killed by ${by}`),
    )
  })
  const abort = (): void => void pipe.destroy(new Error('aborted'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    const said = await text(pipe)
    if (said === '') throw PortctlError.of('relay-start-failed', { why: await ended })
    const message = JSON.parse(said) as ErrorBody | Record<string, never>
    if ('code' in message) throw PortctlError.from(message as ErrorBody)
  } finally {
    signal.removeEventListener('abort', abort)
    child.removeAllListeners()
  }
}

/** The command line that ends in the one given, with the privileges of the header. */
const confined = (command: readonly string[]): readonly [string, ...string[]] => {
  const raise = 'ulimit -n "$0" 2>/dev/null; exec "$@"'
  const most = readFileSync('/proc/sys/fs/nr_open', 'utf8').trim()
  return ['sh', '-c', raise, most, ...(process.geteuid?.() === 0 ? dropPrivileges() : []), ...command]
}

const dropPrivileges = (): readonly string[] => {
  const setpriv = (process.env.PATH ?? '')
    .split(':')
    .map(directory => join(directory, 'setpriv'))
    .find(existsSync)
  if (setpriv === undefined) return []
  const kept = CAPABILITIES.map(name => `+${name}`).join(',')
  return [setpriv, '--no-new-privs', '--inh-caps=-all', `--bounding-set=-all,${kept}`, '--']
}
