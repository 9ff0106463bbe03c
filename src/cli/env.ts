/** What a verb may touch. Tests pass another one. */
import { resolve } from 'node:path'
import { isatty } from 'node:tty'
import { type ApiClient, connect } from '../api/client.ts'
import { type Launch, launch } from './launch.ts'

export interface Env {
  readonly json: boolean
  readonly quiet: boolean
  /** Data: a line, or lines, on stdout. */
  print(text: string): void
  /** A line for the user on stderr; not with --quiet. */
  note(text: string): void
  /** Headings stand out on a terminal that shows colours. */
  heading(text: string): string
  /** The daemon's API; starts a daemon when none answers. */
  daemon(): Promise<ApiClient>
  /** The API without starting anything: calls reject with `daemon-unreachable` when no daemon answers. */
  runningDaemon(): ApiClient
  /** Runs a command inside a container, on our stdin, stdout and stderr. */
  readonly launch: Launch
  /** Resolves with the first signal that asks us to end; from the call on, such a signal does nothing else. */
  interrupted(): Promise<NodeJS.Signals>
  readonly variables: NodeJS.ProcessEnv
  readonly cwd: string
  readonly directories: Directories
}

/** Which instance is meant, and where the programs are. */
interface Directories {
  readonly runDir: string
  readonly stateDir: string
  /** Of the bundles, this one's included. */
  readonly distDir: string
}

export interface EnvOptions {
  readonly json: boolean
  readonly quiet: boolean
}

export const createEnv = ({ json, quiet }: EnvOptions): Env => {
  // An empty variable is one that was not set, not the current directory.
  const runDir = resolve(process.env.PORTCTL_RUN_DIR || '/run/portctl')
  const stateDir = resolve(process.env.PORTCTL_STATE_DIR || '/var/lib/portctl')
  const directories: Directories = { runDir, stateDir, distDir: __dirname }
  const note = (text: string): void => {
    if (!quiet) process.stderr.write(`${text}\n`)
  }
  return {
    json,
    quiet,
    print: text => {
      process.stdout.write(`${text}\n`)
    },
    note,
    heading: text => (showsColours(1) ? `\x1b[1m${text}\x1b[22m` : text),
    daemon: async () => {
      const { ensureDaemon } = await import('../api/autostart.ts')
      await ensureDaemon({ ...directories, env: process.env, notify: note })
      return connect({ runDir })
    },
    runningDaemon: () => connect({ runDir }),
    launch,
    interrupted: () =>
      new Promise(done => {
        for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, done)
      }),
    variables: process.env,
    cwd: process.cwd(),
    directories,
  }
}

/** Whether text on the file descriptor may carry escape sequences (no-color.org). */
export const showsColours = (fd: number): boolean =>
  isatty(fd) && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
