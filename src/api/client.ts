/**
 * The client of the API: the `Service` interface over the daemon's unix socket, with nothing but node:http, which
 * costs a command some 4 ms (a client of ours over node:net: 1 ms).
 *
 * Each request has a connection of its own, so that no request can meet a connection that the daemon was just about
 * to close: a connection lost after it was made always means that this request may have been carried out
 * (`daemon-gone`), one that was never made means that it was not (`daemon-unreachable`).
 */
import http from 'node:http'
import { join } from 'node:path'
import { ERRORS, type ErrorBody, PortctlError } from '../core/errors.ts'
import { describeFault } from '../core/os-error.ts'
import { fillPath, type Operation, ROUTES } from './routes.ts'
import type { HoldRequest, Service } from './views.ts'

interface Hold {
  /** Resolves when the connection has ended: by `release`, or because the daemon went away. Never rejects. */
  readonly ended: Promise<'released' | 'daemon-gone'>
  /** Hangs up; the daemon then takes the publications back. */
  release(): void
}

export interface ApiClient extends Service {
  /** Resolves once the daemon watches the connection: from then on the publications go when this process goes. */
  hold(ids: readonly string[]): Promise<Hold>
}

interface Input {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: URLSearchParams
  readonly body?: unknown
}

export const socketPath = (runDir: string): string => join(runDir, 'portctl.sock')

export const connect = (options: { readonly runDir: string }): ApiClient => {
  const socket = socketPath(options.runDir)

  const call = async <T>(operation: Operation, input: Input = {}): Promise<T> => {
    const response = await send(socket, operation, input)
    const text = await readAll(response, operation)
    if (response.statusCode === 204) return undefined as T
    return JSON.parse(text) as T
  }

  return {
    status: () => call('status'),
    listPublications: () => call('listPublications'),
    publish: request => call('publish', { body: request }),
    unpublish: request => call('unpublish', { body: request }),
    listContainers: () => call('listContainers'),
    run: request => call('run', { body: request }),
    container: name => call('container', { params: { name } }),
    started: (name, request) => call('started', { params: { name }, body: request }),
    exited: (name, request) => call('exited', { params: { name }, body: request }),
    stop: (name, request) => call('stop', { params: { name }, body: request }),
    remove: (name, force) =>
      call('remove', { params: { name }, query: new URLSearchParams({ force: String(force) }) }),
    inspect: ref => call('inspect', { params: { ref } }),
    hold: async ids => holdOn(await send(socket, 'hold', { body: { ids } satisfies HoldRequest })),
  }
}

/** Keeps node from working one out for TLS: its test whether 'localhost' is an address compiles a regular expression, 4 ms. */
const NO_SERVER_NAME = { servername: '' }

/** Resolves with an answer that reports success; its body is still to be read. */
const send = (socket: string, operation: Operation, input: Input): Promise<http.IncomingMessage> => {
  const { method, path, status } = ROUTES[operation]
  const query = input.query?.toString()
  const payload = input.body === undefined ? undefined : JSON.stringify(input.body)
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath: socket,
      agent: false,
      ...NO_SERVER_NAME,
      method,
      path: fillPath(path, input.params ?? {}) + (query ? `?${query}` : ''),
      headers:
        payload === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) },
    })
    request.on('error', (cause: NodeJS.ErrnoException) => {
      reject(cause.syscall === 'connect' ? unreachable(socket, cause) : gone(operation, cause))
    })
    request.on('response', response => {
      if (response.statusCode === status) resolve(response)
      else readAll(response, operation).then(text => reject(toError(text, response.statusCode)), reject)
    })
    request.end(payload)
  })
}

const readAll = async (response: http.IncomingMessage, operation: Operation): Promise<string> => {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer)
  } catch (cause) {
    throw gone(operation, cause)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const holdOn = (response: http.IncomingMessage): Hold => {
  let released = false
  const ended = new Promise<'released' | 'daemon-gone'>(resolve => {
    response.on('error', () => undefined)
    response.on('close', () => resolve(released ? 'released' : 'daemon-gone'))
  })
  response.resume()
  return {
    ended,
    release: () => {
      released = true
      response.destroy()
    },
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nothing listens on it',
  EACCES: 'permission denied',
}

export const unreachable = (socket: string, cause: NodeJS.ErrnoException): PortctlError =>
  PortctlError.of(
    'daemon-unreachable',
    { socket, why: REASONS[cause.code ?? ''] ?? describeFault(cause) },
    { cause },
  )

const gone = (operation: Operation, cause: unknown): PortctlError =>
  PortctlError.of(
    'daemon-gone',
    { what: ROUTES[operation].summary, changes: ROUTES[operation].method !== 'GET' },
    { cause },
  )

const toError = (text: string, status: number | undefined): PortctlError => {
  const body = parseErrorBody(text)
  return body === undefined
    ? PortctlError.of('internal', { what: `the daemon answered with status ${status} and no reason` })
    : PortctlError.from(body)
}

/** An error as written by the daemon; undefined when the text is none. A code that this version lacks is `internal`. */
export const parseErrorBody = (text: string): ErrorBody | undefined => {
  try {
    const body = JSON.parse(text) as Partial<ErrorBody> | null
    if (typeof body?.code !== 'string' || typeof body.message !== 'string') return undefined
    return { ...body, code: body.code in ERRORS ? body.code : 'internal', message: body.message }
  } catch {
    return undefined
  }
}
