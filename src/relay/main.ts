/**
 * The relay process (dist/relay.cjs): owns listeners and live connections, and outlives control.
 *
 * Life cycle: engine, then channel, then the word "ready" on the pipe of whoever started it (client.ts). It ends with
 * status 0 on the `shutdown` call or SIGTERM, cutting every connection; with 1 when it cannot start or anything it
 * owns crashes (a data-path thread included): half a relay would black-hole ports, and control starts a new one.
 * SIGINT and SIGHUP of a terminal mean control, not the relay. It writes log lines to stderr and nothing else.
 *
 * `--agent` makes the same program a connector inside another network namespace (node/agent.ts).
 */
import { closeSync, writeSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { type Logger, pino } from 'pino'
import { asPortctlError, PortctlError } from '../core/errors.ts'
import type { Hello } from './channel.ts'
import { serveChannel } from './channel-server.ts'
import type { Engine } from './engine.ts'
import { runAgent } from './node/agent.ts'
import { createNodeEngine } from './node/index.ts'

interface Chosen {
  readonly engine: Engine
  readonly workers: number
  readonly fallback?: string
}

const chooseEngine = async (log: Logger, name: string, workers: number): Promise<Chosen> => {
  const portable = { program: process.argv[1] ?? '' }
  if (name === 'node') return { engine: createNodeEngine(portable), workers: 0 }
  if (name !== 'splice') throw PortctlError.of('usage', { what: `no engine is called '${name}'` })
  try {
    // Imported late: koffi is loaded with it, and a machine for which it has no binary must still get a relay.
    const { createSpliceEngine } = await import('./splice/index.ts')
    return { engine: await createSpliceEngine({ workers, log: line => log.warn(line) }), workers }
  } catch (error) {
    const { code, message } = asPortctlError(error)
    if (code !== 'libc-unavailable') throw error
    return { engine: createNodeEngine(portable), workers: 0, fallback: message }
  }
}

/** Tells whoever started the relay: `{}` or the error. */
const tell = (fd: number | undefined, word: object): void => {
  if (fd === undefined) return
  writeSync(fd, JSON.stringify(word))
  closeSync(fd)
}

const serve = async (log: Logger, path: string, chosen: Chosen): Promise<void> => {
  const { engine, workers, fallback } = chosen
  const hello: Hello = {
    version: process.env.PORTCTL_VERSION ?? 'unbuilt',
    pid: process.pid,
    engine: engine.name,
    workers,
    ...(fallback === undefined ? {} : { fallback }),
  }
  const channel = await serveChannel({ path, engine, hello, onShutdown: () => end('shutdown') })
  const end = (why: string): void => {
    log.info({ why }, 'relay ends')
    channel.close()
    process.exit(0)
  }
  process.once('SIGTERM', () => void engine.shutdown().finally(() => end('SIGTERM')))
  if (fallback !== undefined)
    log.warn({ reason: fallback }, 'the splice engine cannot run; the portable one serves')
  log.info({ version: hello.version, engine: hello.engine, workers, socket: path }, 'relay ready')
}

/** Data-path threads, of which each takes some 10 MB; more relay faster only on machines that do little else. */
const MOST_BY_DEFAULT = 4

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      agent: { type: 'boolean' },
      socket: { type: 'string', default: `${process.env.PORTCTL_RUN_DIR ?? '/run/portctl'}/relay.sock` },
      engine: { type: 'string', default: 'splice' },
      workers: { type: 'string', default: `${Math.min(availableParallelism(), MOST_BY_DEFAULT)}` },
      'ready-fd': { type: 'string' },
    },
  })
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
  if (values.agent === true) {
    runAgent()
    return
  }
  const log = pino({ name: 'relay' }, pino.destination({ fd: 2, sync: true }))
  const readyFd = values['ready-fd'] === undefined ? undefined : Number(values['ready-fd'])
  const die = (error: unknown, what: string): never => {
    log.fatal({ err: error }, what)
    process.exit(1)
  }
  process.on('uncaughtException', error => die(error, 'relay crashed'))
  try {
    await serve(log, values.socket, await chooseEngine(log, values.engine, Number(values.workers)))
    tell(readyFd, {})
  } catch (error) {
    tell(readyFd, asPortctlError(error).toJSON())
    die(error, 'relay cannot start')
  }
}

void main()
