/**
 * One relayed TCP connection of the portable engine: the client's socket, and the backend's once it is connected.
 *
 * Life cycle: the client arrives paused; when the backend answers, the two are piped into each other; when both are
 * closed, `ended` is called, once.
 *
 * Invariants: FIN passes each way on its own (allowHalfOpen; pipe() ends the other side). Whatever ends a side
 * abnormally, a failed connect included, resets the other. A side is read no faster than the other takes it (pipe()
 * pauses the source), so at most one read (64 KiB) and one stream buffer a direction are held.
 *
 * Limit of Node: a paused socket is not watched, so a RST from a peer that is not being read shows only when its
 * data are wanted again.
 */
import type { Socket } from 'node:net'
import type { Cancel, Dialled } from './agents.ts'

export interface Connection {
  /** Payload bytes so far. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Resets both sides. */
  cut(): void
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
  const cut = (): void => {
    cancel?.()
    cancel = undefined
    reset(client)
    if (backend !== undefined) reset(backend)
  }
  let open = 0
  const watch = (socket: Socket): void => {
    open += 1
    // What went wrong does not matter, 'close' follows.
    socket.on('error', () => undefined)
    socket.once('close', failed => {
      open -= 1
      if (failed) cut()
      if (open === 0) ended()
    })
  }
  watch(client)
  let cancel: Cancel | undefined = dial(outcome => {
    cancel = undefined
    if ('errno' in outcome || client.destroyed) {
      if ('made' in outcome) reset(outcome.made)
      reset(client)
      return
    }
    backend = outcome.made
    watch(backend)
    client.pipe(backend)
    backend.pipe(client)
    // Every byte passes the client's socket, either way.
    if (idleTimeout > 0) client.setTimeout(idleTimeout, cut)
  })
  return {
    get bytesIn() {
      return client.bytesRead
    },
    get bytesOut() {
      return backend?.bytesRead ?? 0
    },
    cut,
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
