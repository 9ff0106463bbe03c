/**
 * The daemon's HTTP API: the routes of api/routes.ts onto the `Service`. `createApiServer` makes it (testable with
 * `inject`), `listenOn` puts it on the instance's socket.
 *
 * The socket appears under its name only once it accepts connections: it is bound under another name beside it, then
 * renamed. So a client that finds the socket can connect, and a stale socket of a killed daemon is replaced in the same
 * step. It is made with its mode (umask), so there is no moment at which that is wider. Needs the lock of the run
 * directory (lock.ts).
 *
 * `hold`: the answer's head is sent at once, its end never (holds.ts). Other requests under way have STOP_GRACE to be
 * answered before the server is closed. No client can keep it waiting: a request has REQUEST_TIMEOUT to arrive.
 */
import { once } from 'node:events'
import { rename, unlink } from 'node:fs/promises'
import { type FastifyInstance, type FastifyRequest, fastify, LogController } from 'fastify'
import type { z } from 'zod'
import { socketPath } from '../api/client.ts'
import { type Operation, ROUTES } from '../api/routes.ts'
import { SCHEMAS, type Shapes } from '../api/schemas.ts'
import type { Service } from '../api/views.ts'
import { asPortctlError, PortctlError } from '../core/errors.ts'
import { Holds } from './holds.ts'
import type { Logger } from './logging.ts'

/** Bytes. An environment handed to a detached command is the largest thing in a request; ARG_MAX is 2 MiB. */
const BODY_LIMIT = 4 * 1024 * 1024
/** Leaves 0660. */
const SOCKET_UMASK = 0o117
/** Milliseconds from a request's first byte (a connection's start) to its last. */
const REQUEST_TIMEOUT = 10_000
/** Milliseconds. */
const STOP_GRACE = 2_000

type Body<O extends Operation> = (typeof SCHEMAS)[O] extends { readonly body: infer B extends z.ZodType }
  ? z.output<B>
  : undefined
type Query<O extends Operation> = (typeof SCHEMAS)[O] extends { readonly query: infer Q extends z.ZodType }
  ? z.output<Q>
  : undefined
interface Call<O extends Operation> {
  readonly params: Readonly<Record<string, string>>
  readonly query: Query<O>
  readonly body: Body<O>
}
type Handlers = {
  readonly [O in Exclude<Operation, 'hold'>]: (
    service: Service,
    call: Call<O>,
    holds: Holds,
  ) => ReturnType<Service[O]>
}

const HANDLERS: Handlers = {
  status: service => service.status(),
  listPublications: service => service.listPublications(),
  publish: async (service, { body }, holds) => {
    const answer = await service.publish(body)
    if (body.held) holds.expect(answer.publications.map(({ id }) => id))
    return answer
  },
  unpublish: (service, { body }) => service.unpublish(body),
  listContainers: service => service.listContainers(),
  run: (service, { body }) => service.run(body),
  container: (service, { params }) => service.container(params.name as string),
  started: (service, { params, body }) => service.started(params.name as string, body),
  exited: (service, { params, body }) => service.exited(params.name as string, body),
  stop: (service, { params, body }) => service.stop(params.name as string, body),
  remove: (service, { params, query }) => service.remove(params.name as string, query.force === 'true'),
  inspect: (service, { params }) => service.inspect(params.ref as string),
}

export const createApiServer = (
  service: Service,
  log: Logger,
  requestTimeout = REQUEST_TIMEOUT,
): FastifyInstance => {
  const app = fastify({
    loggerInstance: log.child({ part: 'api' }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    requestTimeout,
    http: { headersTimeout: requestTimeout, connectionsCheckingInterval: requestTimeout / 4 },
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 1024 },
    // zod validates (below), JSON.stringify serialises; fastify's own compilers would cost 40 ms of start-up to load.
    schemaController: { compilersFactory: { buildValidator: unused, buildSerializer: unused } },
  }) as unknown as FastifyInstance

  app.setErrorHandler(async (thrown, request, reply) => {
    const error = toPortctlError(thrown)
    if (error.code === 'internal') request.log.error({ err: thrown, url: request.url }, 'request failed')
    await reply.code(error.http).send(error.toJSON())
  })
  app.setNotFoundHandler(request => {
    throw PortctlError.of('route-unknown', { method: request.method, path: request.url })
  })
  app.addHook('onResponse', async (request, reply) => {
    request.log.debug(
      { method: request.method, url: request.url, status: reply.statusCode, ms: reply.elapsedTime },
      'request',
    )
  })

  const holds = new Holds(service, log)
  for (const [operation, handle] of Object.entries(HANDLERS) as [Exclude<Operation, 'hold'>, Handle][]) {
    const { method, path: url, status } = ROUTES[operation]
    app.route({
      method,
      url,
      handler: async (request, reply) =>
        reply.code(status).send(await handle(service, parse(operation, request), holds)),
    })
  }
  registerHold(app, holds)
  return app
}

/** A handler with its operation forgotten: `parse` has seen to it that the call is the one it takes. */
type Handle = (service: Service, call: Call<never>, holds: Holds) => Promise<unknown>

const registerHold = (app: FastifyInstance, holds: Holds): void => {
  app.addHook('preClose', async () => holds.close())
  const { method, path: url, status } = ROUTES.hold
  app.route({
    method,
    url,
    handler: (request, reply) => {
      const { ids } = parse('hold', request).body
      reply.hijack()
      holds.hold(ids, reply.raw)
      if (reply.raw.destroyed) return
      reply.raw.writeHead(status, { 'content-type': 'application/json' })
      reply.raw.flushHeaders()
    },
  })
}

const parse = <O extends Operation>(operation: O, request: FastifyRequest): Call<O> => {
  const shapes: Shapes = SCHEMAS[operation]
  return {
    params: request.params as Call<O>['params'],
    query: parsePart(shapes.query, 'query', request.query) as Query<O>,
    body: parsePart(shapes.body, 'body', request.body) as Body<O>,
  }
}

const parsePart = (shape: z.ZodType | undefined, part: string, value: unknown): unknown => {
  const result = shape?.safeParse(value)
  if (result === undefined || result.success) return result?.data
  const issue = result.error.issues[0]
  const field = [part, ...(issue?.path ?? [])].join('.')
  throw PortctlError.of('request-invalid', { field, why: issue?.message ?? 'not valid' })
}

const unused = (): never => {
  throw PortctlError.of('internal', { what: 'fastify asked for a schema compiler' })
}

const toPortctlError = (thrown: unknown): PortctlError => {
  const { statusCode, message } = thrown as { readonly statusCode?: number; readonly message?: string }
  // What fastify itself refuses: a body that is no JSON, too large, of another media type.
  return !(thrown instanceof PortctlError) && statusCode !== undefined && statusCode < 500
    ? PortctlError.of('request-invalid', { field: 'body', why: message ?? 'not valid' }, { cause: thrown })
    : asPortctlError(thrown)
}

/** Serves on `$PORTCTL_RUN_DIR/portctl.sock`; the returned function stops it and removes the socket. */
export const listenOn = async (app: FastifyInstance, runDir: string): Promise<() => Promise<void>> => {
  const path = socketPath(runDir)
  const unnamed = `${path}.${process.pid}`
  await app.ready()
  const listening = once(app.server, 'listening')
  // Not by fastify, which binds at a time of its own: here bind(2) happens inside listen(), and no other file is made
  // under this umask.
  const umask = process.umask(SOCKET_UMASK)
  try {
    app.server.listen(unnamed)
  } finally {
    process.umask(umask)
  }
  await listening
  await rename(unnamed, path)
  app.log.info(`API on ${path}`)
  return async () => {
    await unlink(path).catch(() => undefined)
    const grace = setTimeout(() => app.server.closeAllConnections(), STOP_GRACE)
    await app.close()
    clearTimeout(grace)
  }
}
