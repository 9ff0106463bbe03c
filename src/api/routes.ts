/**
 * The routes of the API as data: one row an operation. The server, the client and docs/openapi.json are made from
 * it. No schema library here, because the CLI imports this file: `schemas.ts` has what each operation takes and gives.
 */
import type { Service } from './views.ts'

/** `hold` is the one operation that is no method of the service: its answer lasts as long as the connection. */
export type Operation = keyof Service | 'hold'

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** `:name` marks a parameter. */
  readonly path: `/v1/${string}`
  /** Of an answer that reports success. */
  readonly status: 200 | 201 | 204
  readonly summary: string
}

export const ROUTES = {
  status: {
    method: 'GET',
    path: '/v1/status',
    status: 200,
    summary: 'What this daemon is and how much it serves',
  },
  listPublications: { method: 'GET', path: '/v1/publications', status: 200, summary: 'List publications' },
  publish: { method: 'POST', path: '/v1/publications', status: 201, summary: 'Publish ports' },
  hold: {
    method: 'POST',
    path: '/v1/hold',
    status: 200,
    summary: 'Stay connected; when the client goes, the publications named by id are taken back',
  },
  unpublish: { method: 'POST', path: '/v1/unpublish', status: 200, summary: 'Take publications back' },
  listContainers: { method: 'GET', path: '/v1/containers', status: 200, summary: 'List containers' },
  run: {
    method: 'POST',
    path: '/v1/containers',
    status: 201,
    summary: 'Make a container, and start its command when it is detached',
  },
  container: { method: 'GET', path: '/v1/containers/:name', status: 200, summary: 'One container' },
  started: {
    method: 'POST',
    path: '/v1/containers/:name/started',
    status: 200,
    summary: 'The client has started the command of a container in the foreground',
  },
  exited: {
    method: 'POST',
    path: '/v1/containers/:name/exited',
    status: 204,
    summary: 'The command of a container in the foreground has ended',
  },
  stop: { method: 'POST', path: '/v1/containers/:name/stop', status: 200, summary: 'Stop a container' },
  remove: { method: 'DELETE', path: '/v1/containers/:name', status: 204, summary: 'Remove a container' },
  inspect: {
    method: 'GET',
    path: '/v1/inspect/:ref',
    status: 200,
    summary: 'A container or publication, by name or id',
  },
} as const satisfies Record<Operation, Route>

/** Names of the parameters in a route's path. */
export const pathParameters = (path: string): readonly string[] =>
  [...path.matchAll(/:(\w+)/g)].map(match => match[1] as string)

/** The path with its parameters filled in. */
export const fillPath = (path: string, params: Readonly<Record<string, string>>): string =>
  path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] as string))
