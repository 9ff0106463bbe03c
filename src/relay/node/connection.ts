/**
 * One relayed TCP connection of the portable engine: the client's socket, and the backend's once it is connected.
 *
 * Life cycle: the client arrives paused; when the backend answers, the two are piped into each other; when both are
 * closed, `ended` is called, once, later than relayConnection returns.
 *
 * Invariants: FIN passes each way on its own (allowHalfOpen; pipe() ends the other side). Whatever ends a side
 * abnormally, a failed connect included, resets the other. A side is read no faster than the other takes it (pipe()
 * pauses the source), so at most one read (64 KiB) and one stream buffer a direction are held.
 *
 * Node does not watch a socket that it neither reads from nor writes to: one paused by back-pressure, or one whose
 * peer has sent FIN. A RST from there would go unnoticed, so `probe` writes nothing to such a socket: tcp_sendmsg()
 * reports a pending error even for no bytes.
 */
import type { Socket } from 'node:net'
import type { Cancel, Dialled } from './agents.ts'

export interface Connection {
  /** Payload bytes so far. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Resets both sides. */
  cut(): void
  /** To be called now and then. */
  probe(): void
}

export type Dial = (report: (outcome: Dialled<Socket>) => void) => Cancel

/** `idleTimeout` as in Limits. */
export const relayConnection = (
  client: Socket,
  dial: Dial,
  idleTimeout: number,
  ended: () => void,
): Connection => {
  let backend: Socket | undefined
  let over = false
  const check = (): void => {
    if (over || !client.destroyed || backend?.destroyed === false) return
    over = true
    ended()
  }
  const cut = (): void => {
    cancel?.()
    cancel = undefined
    reset(client)
    if (backend !== undefined) reset(backend)
    check()
  }
  const watch = (socket: Socket): void => {
    // What went wrong does not matter, 'close' follows.
    socket.on('error', () => undefined)
    socket.once('close', failed => {
      if (failed || backend === undefined) cut()
      else check()
    })
  }
  watch(client)
  let cancel: Cancel | undefined = dial(outcome => {
    cancel = undefined
    if ('errno' in outcome) {
      cut()
      return
    }
    backend = outcome.made
    watch(backend)
    client.pipe(backend)
    backend.pipe(client)
    if (idleTimeout > 0) cutWhenIdle(client, backend, idleTimeout, cut)
  })
  return {
    get bytesIn() {
      return client.bytesRead
    },
    get bytesOut() {
      return backend?.bytesRead ?? 0
    },
    cut,
    probe: () => {
      if (backend === undefined) return
      for (const socket of [client, backend])
        if ((socket.readableEnded || socket.isPaused()) && socket.writable && socket.writableLength === 0)
          socket.write(NOTHING)
    },
  }
}

const NOTHING = Buffer.alloc(0)

/** `socket.setTimeout` would take probes for traffic. */
const cutWhenIdle = (client: Socket, backend: Socket, idleTimeout: number, cut: () => void): void => {
  const timer = setTimeout(cut, idleTimeout)
  const moved = (): void => void timer.refresh()
  for (const socket of [client, backend]) {
    socket.on('data', moved)
    socket.on('drain', moved)
    socket.once('close', () => clearTimeout(timer))
  }
}

/**
 * Closes with RST. libuv refuses that while a shutdown(2) is under way, which takes one turn of the event loop: then
 * it waits for it.
 */
export const reset = (socket: Socket): void => {
  if (socket.destroyed) return
  const shuttingDown = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
  if (shuttingDown) socket.once('finish', () => reset(socket))
  else socket.resetAndDestroy()
}
