/**
 * The relay's end of the channel.
 *
 * Life cycle: the socket file is made mode 0600 (umask, so there is no moment at which it is wider); a file left by a
 * relay that died is replaced; one behind which a relay answers is left alone and the start fails. Control's lock on
 * the run directory keeps two relays from starting at once.
 *
 * Invariants: at most one connection is current. A `hello` makes its connection the current one and ends the one
 * before it, so a restarted control needs no goodbye from the dead one. Calls that the dead one sent and that were
 * accepted run to their end, before those of the new one. The end of a connection changes nothing in the engine.
 */
import { lstatSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { asPortctlError, PortctlError } from '../core/errors.ts'
import { type Call, type Calls, type Hello, onMessage, type Request, writeMessage } from './channel.ts'
import type { Engine } from './engine.ts'

export interface ServeOptions {
  readonly path: string
  readonly engine: Engine
  readonly hello: Hello
  /** Called once `shutdown` has been answered. */
  readonly onShutdown: () => void
}

export interface ChannelServer {
  close(): void
}

type Handlers = { readonly [C in Call]: (...params: Calls[C]['params']) => Promise<Calls[C]['result']> }

const done = async (work: Promise<void>): Promise<null> => {
  await work
  return null
}

const handlersOf = (engine: Engine, hello: Hello): Handlers => ({
  hello: async () => hello,
  open: services => done(engine.open(services)),
  close: ids => done(engine.close(ids)),
  retarget: (id, target) => done(engine.retarget(id, target)),
  services: () => engine.services(),
  counters: async () => [...(await engine.counters())],
  shutdown: () => done(engine.shutdown()),
})

/** @throws `relay-running`, `syscall-failed` */
export const serveChannel = async ({
  path,
  engine,
  hello,
  onShutdown,
}: ServeOptions): Promise<ChannelServer> => {
  const handlers = handlersOf(engine, hello)
  const connections = new Set<Socket>()
  let current: Socket | undefined
  let changes: Promise<unknown> = Promise.resolve()

  const perform = async ({ call, params }: Request): Promise<unknown> => {
    if (!Object.hasOwn(handlers, call)) throw PortctlError.of('internal', { what: `no such call: ${call}` })
    const run = handlers[call] as (...params: readonly unknown[]) => Promise<unknown>
    if (call === 'hello' || call === 'counters') return run(...params)
    const result = changes.then(() => run(...params))
    changes = result.catch(() => undefined)
    return result
  }

  const answer = async (socket: Socket, request: Request): Promise<void> => {
    if (request.call === 'hello') {
      if (current !== socket) current?.destroy()
      current = socket
    } else if (current !== socket) {
      socket.destroy()
      return
    }
    try {
      writeMessage(socket, { id: request.id, result: await perform(request) })
      if (request.call === 'shutdown') socket.end(onShutdown)
    } catch (error) {
      writeMessage(socket, { id: request.id, error: asPortctlError(error).toJSON() })
    }
  }

  const server = createServer(socket => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    // The peer died; there is nothing to tell it.
    socket.on('error', () => undefined)
    onMessage(socket, message => void answer(socket, message as Request))
  })
  await claim(server, path)
  return {
    close: () => {
      server.close()
      for (const socket of connections) socket.destroy()
    },
  }
}

const claim = async (server: Server, path: string): Promise<void> => {
  try {
    await listen(server, path)
  } catch (error) {
    const replaceable = lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || !replaceable) throw failed(path, error)
    if (await answers(path)) throw PortctlError.of('relay-running', { path })
    try {
      unlinkSync(path)
      await listen(server, path)
    } catch (again) {
      throw failed(path, again)
    }
  }
}

const failed = (path: string, error: unknown): PortctlError => {
  const errno = (error as NodeJS.ErrnoException).code ?? String(error)
  return PortctlError.of('syscall-failed', { call: 'bind', subject: path, errno }, { cause: error })
}

const listen = async (server: Server, path: string): Promise<void> => {
  // bind(2) of a unix socket happens inside listen(), synchronously: no other file is made under this umask.
  const umask = process.umask(0o177)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, () => {
        server.removeListener('error', reject)
        resolve()
      })
      process.umask(umask)
    })
  } finally {
    process.umask(umask)
  }
}

const answers = (path: string): Promise<boolean> =>
  new Promise(resolve => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
