/**
 * The channel between control and the relay process: one JSON object a line, both ways, over the relay's unix socket.
 *
 *   control → relay   {"id":7,"call":"open","params":[…]}
 *   relay → control   {"id":7,"result":…}   or   {"id":7,"error":{"code","message","hint"?,"details"?}}
 *
 * `params` are the arguments of the Engine method of the same name, so a service of 40,000 ports is one small line.
 * Calls that change something run in the order in which they arrive, whichever connection they came by; `counters`
 * does not wait for them. The first call on a connection is `hello`: it makes the connection the current one.
 */
import type { Socket } from 'node:net'
import type { ErrorBody } from '../core/errors.ts'
import type { Engine, RelayTarget, ServiceCounters, ServiceSpec } from './engine.ts'

export interface Hello {
  readonly version: string
  readonly pid: number
  readonly engine: Engine['name']
  /** Data-path threads; 0 for the portable engine, which runs on the main thread. */
  readonly workers: number
  /** Why the engine is not the one that was asked for. */
  readonly fallback?: string
}

export interface Calls {
  readonly hello: { readonly params: readonly []; readonly result: Hello }
  readonly open: { readonly params: readonly [services: readonly ServiceSpec[]]; readonly result: null }
  readonly close: { readonly params: readonly [ids: readonly string[]]; readonly result: null }
  readonly retarget: {
    readonly params: readonly [id: string, target: RelayTarget | null]
    readonly result: null
  }
  readonly services: { readonly params: readonly []; readonly result: readonly ServiceSpec[] }
  readonly counters: {
    readonly params: readonly []
    readonly result: readonly (readonly [id: string, counters: ServiceCounters])[]
  }
  readonly shutdown: { readonly params: readonly []; readonly result: null }
}

export type Call = keyof Calls

export interface Request {
  readonly id: number
  readonly call: Call
  readonly params: readonly unknown[]
}

export type Response =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: ErrorBody }

/** Characters; 40,000 publications of their own make a request of about 15 million. */
const MAX_LINE = 128 * 1024 * 1024

/**
 * Hands over each line that arrives. A line that is no JSON, or without end, destroys the socket: the peer is not
 * one of ours.
 */
export const onMessage = (socket: Socket, handle: (message: unknown) => void): void => {
  // Pieces of the unfinished line; joined once, so that a long line costs no repeated copying.
  let pieces: string[] = []
  let length = 0
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    let start = 0
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      const line = pieces.join('') + text.slice(start, end)
      pieces = []
      length = 0
      start = end + 1
      try {
        handle(JSON.parse(line))
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined)
        return
      }
    }
    if (start === text.length) return
    pieces.push(text.slice(start))
    length += text.length - start
    if (length > MAX_LINE) socket.destroy(new Error('line without end'))
  })
}

export const writeMessage = (socket: Socket, message: Request | Response): void => {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`)
}
