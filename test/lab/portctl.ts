/**
 * portctl as its user meets it, inside a laboratory: the built programs in `dist/`, a daemon in a namespace, an
 * instance of its own (run and state directory). Ended and removed with the laboratory.
 *
 * A container's namespace bears the container's name in /run/netns, which all laboratories share: take names from
 * `name('web')`.
 */
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ExecOptions, type Executed, type Lab, type Where, waitFor } from './lab.ts'

export const PORTCTL = fileURLToPath(new URL('../../dist/portctl.cjs', import.meta.url))

export interface Instance {
  readonly where: Where
  readonly runDir: string
  readonly stateDir: string
  readonly env: Readonly<Record<string, string>>
  /** `web` → a name no other laboratory uses. */
  name(label: string): string
  /** Runs the command line in this namespace. */
  run(args: readonly string[], options?: ExecOptions): Promise<Executed>
  /** As `run`, and rejects when the command fails. Gives stdout. */
  ok(...args: readonly string[]): Promise<string>
  /** As `ok` with `--json`, parsed. */
  json<T>(...args: readonly string[]): Promise<T>
  /** `portctl daemon` in the foreground; resolves when its socket answers to connect(2). */
  start(args?: readonly string[]): Promise<void>
  /** Sends a signal to the daemon started here and waits for its end; gives the exit status, −1 after a signal. */
  stop(signal?: NodeJS.Signals): Promise<number>
  /** What the daemon wrote to stderr so far. */
  log(): string
}

export interface InstanceOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Further arguments of `portctl daemon`. */
  readonly args?: readonly string[]
  /** A command that runs the daemon in its own place: `setpriv …`, `prlimit …`, `sh -c '…; exec "$@"' sh`. */
  readonly within?: readonly string[]
}

/** A socket file alone may be a killed daemon's. */
const answers = (socket: string): Promise<boolean> =>
  new Promise(resolve => {
    const client = connect(socket, () => {
      client.destroy()
      resolve(true)
    })
    client.on('error', () => resolve(false))
  })

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** A daemon that a command started in the background is nobody's child: its lock file tells its pid. */
const endBackground = async (runDir: string): Promise<void> => {
  const pid = Number(await readFile(join(runDir, 'portctl.lock'), 'utf8').catch(() => ''))
  if (!(pid > 0) || !existsSync(`/proc/${pid}`)) return
  process.kill(pid, 'SIGTERM')
  await waitFor('the end of the daemon in the background', () => !existsSync(`/proc/${pid}`))
}

/** An instance without a daemon yet: `start` it, or let a command do so. */
export const createInstance = async (
  lab: Lab,
  where: Where = lab.host,
  options: InstanceOptions = {},
): Promise<Instance> => {
  const home = await mkdtemp(join(tmpdir(), `${lab.prefix}-`))
  const [runDir, stateDir] = [join(home, 'run'), join(home, 'state')]
  const env = { PORTCTL_RUN_DIR: runDir, PORTCTL_STATE_DIR: stateDir, NO_COLOR: '1', ...options.env }
  let daemon: ChildProcess | undefined
  let log = ''

  const run: Instance['run'] = (args, execOptions = {}) =>
    lab.exec(where, process.execPath, [PORTCTL, ...args], {
      ...execOptions,
      env: { ...env, ...execOptions.env },
    })

  const instance: Instance = {
    where,
    runDir,
    stateDir,
    env,
    name: label => `${lab.prefix}-${label}`,
    run,
    ok: async (...args) => {
      const { exitCode, stdout, stderr } = await run(args)
      if (exitCode !== 0) throw new Error(`portctl ${args.join(' ')}: exit ${exitCode}: ${stderr}\n${log}`)
      return stdout
    },
    json: async (...args) => JSON.parse(await instance.ok(...args, '--json')),
    start: async (args = options.args ?? []) => {
      const [command, ...rest] = [...(options.within ?? []), process.execPath, PORTCTL, 'daemon', ...args]
      const child = lab.spawn(where, command as string, rest, { env })
      daemon = child
      child.stderr.on('data', chunk => {
        log += String(chunk)
      })
      // Read, so that the daemon never blocks on a full pipe.
      child.stdout.resume()
      await waitFor("the daemon's socket", () => {
        if (hasEnded(child)) throw new Error(`the daemon ended with status ${child.exitCode}: ${log}`)
        return answers(join(runDir, 'portctl.sock'))
      })
    },
    stop: async (signal = 'SIGTERM') => {
      const child = daemon
      if (child === undefined || hasEnded(child)) return child?.exitCode ?? -1
      const ended = new Promise<number>(resolve => child.once('exit', code => resolve(code ?? -1)))
      child.kill(signal)
      return ended
    },
    log: () => log,
  }

  lab.onDispose(async () => {
    const end = instance.stop()
    const late = new Promise<'late'>(resolve => setTimeout(resolve, 10_000, 'late').unref())
    const outcome = await Promise.race([end.then(() => endBackground(runDir)), late])
    await rm(home, { recursive: true, force: true })
    // The laboratory kills it next; the test has to fail all the same.
    if (outcome === 'late') throw new Error(`the daemon did not end on SIGTERM: ${log}`)
  })
  return instance
}

/** An instance with its daemon up. */
export const startDaemon = async (
  lab: Lab,
  where: Where = lab.host,
  options: InstanceOptions = {},
): Promise<Instance> => {
  const instance = await createInstance(lab, where, options)
  await instance.start()
  return instance
}
