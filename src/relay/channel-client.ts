/**
 * Control's end of the channel: the relay process seen as an Engine.
 *
 * Life cycle: connect, `hello` (which takes the relay over from any earlier control), calls, `disconnect`. When the
 * connection ends, for whatever reason, `closed` resolves and every call under way rejects with `relay-unavailable`;
 * the relay itself goes on unless it was the one that died. A call that got no answer may have been carried out.
 */
import { connect } from 'node:net'
import { PortctlError } from '../core/errors.ts'
import { type Call, type Calls, type Hello, onMessage, type Response, writeMessage } from './channel.ts'
import type { Engine } from './engine.ts'

export interface RelayClient extends Engine, Hello {
  /** Resolves when the connection has ended; never rejects. */
  readonly closed: Promise<void>
  /** Leaves the relay running. */
  disconnect(): void
}

export interface ConnectOptions {
  /** Gives up connecting. */
  readonly signal?: AbortSignal
  /** Milliseconds for each call to be answered. */
  readonly timeout?: number
}

/** Opening 40,000 ports takes seconds; an answer later than this means that the relay hangs. */
const DEFAULT_TIMEOUT = 30_000

interface Pending {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: PortctlError) => void
}

/** @throws `relay-unavailable` nobody serves the socket; `relay-timeout`; the signal's reason */
export const connectRelay = async (path: string, options: ConnectOptions = {}): Promise<RelayClient> => {
  const { signal, timeout = DEFAULT_TIMEOUT } = options
  signal?.throwIfAborted()
  const socket = connect({ path })
  const pending = new Map<number, Pending>()
  let lastId = 0

  const call = <C extends Call>(name: C, ...params: Calls[C]['params']): Promise<Calls[C]['result']> => {
    if (socket.destroyed) return Promise.reject(PortctlError.of('relay-unavailable', {}))
    const id = ++lastId
    const answer = new Promise<unknown>((resolve, reject) => pending.set(id, { resolve, reject }))
    const timer = setTimeout(() => {
      pending.get(id)?.reject(PortctlError.of('relay-timeout', { call: name, milliseconds: timeout }))
    }, timeout)
    writeMessage(socket, { id, call: name, params })
    return (answer as Promise<Calls[C]['result']>).finally(() => {
      clearTimeout(timer)
      pending.delete(id)
    })
  }

  onMessage(socket, message => {
    const response = message as Response
    const waiting = pending.get(response.id)
    if ('error' in response) waiting?.reject(PortctlError.from(response.error))
    else waiting?.resolve(response.result)
  })
  let cause: Error | undefined
  socket.on('error', error => {
    cause = error
  })
  const closed = new Promise<void>(resolve =>
    socket.once('close', () => {
      for (const { reject } of pending.values()) reject(PortctlError.of('relay-unavailable', {}, { cause }))
      resolve()
    }),
  )

  const abort = (): void => void socket.destroy()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const hello = await call('hello')
    return {
      ...hello,
      name: hello.engine,
      closed,
      disconnect: () => void socket.destroy(),
      open: async services => void (await call('open', services)),
      close: async ids => void (await call('close', ids)),
      retarget: async (id, target) => void (await call('retarget', id, target)),
      services: () => call('services'),
      counters: async () => new Map(await call('counters')),
      shutdown: async () => void (await call('shutdown')),
    }
  } catch (error) {
    socket.destroy()
    throw signal?.aborted === true ? signal.reason : error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}
