/**
 * The daemon, from start to end. Everything it does is in the rooms it opens here, in this order:
 *
 *   lock     one daemon per run directory, per state directory and, when privileged, per network namespace
 *   store    what was asked, as it was acknowledged
 *   control  adopts the relay, puts the kernel into the state that the store tells
 *   API      on $PORTCTL_RUN_DIR/portctl.sock, once all that is in force
 *
 * SIGTERM and SIGINT end it and take back all it made; with `keep` they leave everything in force for the next
 * daemon, as SIGKILL does.
 */
import { mkdirSync } from 'node:fs'
import { signalReady } from '../api/autostart.ts'
import { asPortctlError, PortctlError } from '../core/errors.ts'
import { describeFault } from '../core/os-error.ts'
import type { Engine } from '../relay/engine.ts'
import { Control } from './control.ts'
import { acquireLock, type Lock } from './lock.ts'
import { createLogger, type Logger, type LogLevel } from './logging.ts'
import { lockNamespace } from './namespace-lock.ts'
import { openStore } from './store.ts'

export interface DaemonOptions {
  readonly runDir: string
  readonly stateDir: string
  /** Holds the bundles of the other programs. */
  readonly distDir: string
  readonly version: string
  readonly engine?: Engine['name']
  readonly workers?: number
  /** Leave everything in force on SIGTERM. */
  readonly keep: boolean
  readonly logLevel?: LogLevel
}

/** Resolves when the daemon has ended. @throws PortctlError when it can't start. */
export const runDaemon = async (options: DaemonOptions): Promise<void> => {
  const log = await createLogger(options.logLevel)
  try {
    await serve(options, log)
  } catch (thrown) {
    const error: PortctlError = asPortctlError(thrown)
    signalReady(error)
    throw error
  }
}

const serve = async (options: DaemonOptions, log: Logger): Promise<void> => {
  const { runDir, stateDir } = options
  makeDirectory(runDir, 0o755)
  makeDirectory(stateDir, 0o700)
  const ended = endSignal()
  const lock = await acquireLock({ runDir, stateDir })
  let namespace: Lock | undefined
  try {
    if (process.geteuid?.() === 0) namespace = await lockNamespace()
    const store = await openStore(stateDir)
    const [control, { createApiServer, listenOn }] = await Promise.all([
      Control.start({ ...options, store, log }),
      // While the relay starts: fastify takes 40 ms to load.
      import('./api-server.ts'),
    ])
    const stopServing = await listenOn(createApiServer(control, log), runDir).catch(async error => {
      await control.end({ keep: true })
      throw error
    })
    log.info(await control.status(), 'portctl daemon ready')
    signalReady()

    const signal = await ended
    log.info({ signal, keep: options.keep }, 'portctl daemon ending')
    await stopServing()
    await control.end({ keep: options.keep })
    await store.close()
  } finally {
    await namespace?.release()
    await lock.release()
  }
}

/** @throws `state-unreadable` */
const makeDirectory = (path: string, mode: number): void => {
  try {
    mkdirSync(path, { recursive: true, mode })
  } catch (cause) {
    throw PortctlError.of('state-unreadable', { path, why: describeFault(cause) }, { cause })
  }
}

const endSignal = (): Promise<NodeJS.Signals> =>
  new Promise(resolve => {
    // Not `once`: execa (kernel/start-execa.ts) ends a process on a signal that nobody else listens to (any more).
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal))
    // The terminal that started a background daemon may close.
    process.on('SIGHUP', () => {})
  })
