import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseErrorBody } from '../../api/client.ts'
import { PortctlError } from '../../core/errors.ts'
import { verb } from '../verb.ts'
import { VERSION } from '../version.ts'

/** What the command line needs of dist/daemon.cjs, another bundle: its libraries must not be loaded by every command. */
interface DaemonBundle {
  runDaemon(options: {
    readonly runDir: string
    readonly stateDir: string
    readonly distDir: string
    readonly version: string
    readonly keep: boolean
    readonly engine?: 'splice' | 'node'
    readonly workers?: number
  }): Promise<void>
}

export const daemon = verb({
  name: 'daemon',
  summary: 'run the daemon in the foreground',
  description: [
    'Serves PORTCTL_RUN_DIR (default /run/portctl) with the state in PORTCTL_STATE_DIR (default /var/lib/portctl), for the network namespace it is started in. SIGTERM ends it and removes what it made.',
  ],
  operands: [],
  flags: {
    keep: { summary: 'on SIGTERM, leave publications and containers as they are' },
    engine: {
      value: 'ENGINE',
      choices: ['splice', 'node'],
      summary: "the relay's data path (default splice)",
    },
    workers: {
      value: 'N',
      summary: "threads of the relay's data path (default: one a CPU, 4 at most)",
    },
  },
  printsData: false,
  examples: [
    { command: 'portctl daemon', what: 'log to the terminal' },
    { command: 'portctl daemon --keep', what: 'under a service manager, so that an upgrade cuts nothing' },
  ],
  async run({ directories }, _operands, { keep, engine, workers }) {
    const bundle = createRequire(__filename)(join(directories.distDir, 'daemon.cjs')) as DaemonBundle
    const chosen = {
      ...(engine === undefined ? {} : { engine }),
      ...(workers === undefined ? {} : { workers: parseWorkers(workers) }),
    }
    await bundle.runDaemon({ ...directories, version: VERSION, keep, ...chosen }).catch(rethrow)
  },
})

/** More threads than this only take memory. */
const MOST_WORKERS = 64

const parseWorkers = (text: string): number => {
  const workers = Number(text)
  if (!/^[1-9]\d?$/.test(text) || workers > MOST_WORKERS)
    throw PortctlError.of('usage', {
      what: `--workers '${text}': not a number from 1 to ${MOST_WORKERS}`,
      verb: 'daemon',
    })
  return workers
}

/** The other bundle has a class PortctlError of its own, which is not ours: its errors are taken over by their content. */
const rethrow = (error: unknown): never => {
  const body = parseErrorBody(JSON.stringify(error))
  throw body === undefined ? error : PortctlError.from(body)
}
