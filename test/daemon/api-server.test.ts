import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { ROUTES } from '../../src/api/routes.ts'
import type { Service } from '../../src/api/views.ts'
import { PortctlError } from '../../src/core/errors.ts'
import { createApiServer } from '../../src/daemon/api-server.ts'
import { fakeService, publication } from '../api/fake-service.ts'

const silent = pino({ level: 'silent' })
const serve = (overrides: Partial<Service> = {}) => {
  const service = fakeService(overrides)
  return { service, app: createApiServer(service, silent) }
}
const post = (url: string, payload: unknown) => ({ method: 'POST' as const, url, payload: payload as object })
const run = (fields: object) =>
  post('/v1/containers', { command: ['sh'], detach: true, autoRemove: false, ...fields })

describe('routes onto the service', () => {
  it.each([
    [{ method: 'GET' as const, url: '/v1/status' }, ['status'], 200],
    [{ method: 'GET' as const, url: '/v1/publications' }, ['listPublications'], 200],
    [post('/v1/publications', { specs: ['8080:80'] }), ['publish', { specs: ['8080:80'] }], 201],
    [
      post('/v1/publications', { specs: ['80'], to: 'web', name: 'n', via: 'relay' }),
      ['publish', { specs: ['80'], to: 'web', name: 'n', via: 'relay' }],
      201,
    ],
    [post('/v1/unpublish', { all: true }), ['unpublish', { all: true }], 200],
    [{ method: 'GET' as const, url: '/v1/containers' }, ['listContainers'], 200],
    [
      post('/v1/containers', { command: ['sh'], detach: true, autoRemove: false, env: { A: 'b' }, cwd: '/' }),
      ['run', { command: ['sh'], detach: true, autoRemove: false, env: { A: 'b' }, cwd: '/' }],
      201,
    ],
    [{ method: 'GET' as const, url: '/v1/containers/web' }, ['container', 'web'], 200],
    [post('/v1/containers/web/started', { pid: 7 }), ['started', 'web', { pid: 7 }], 200],
    [post('/v1/containers/web/exited', { exitCode: 3 }), ['exited', 'web', { exitCode: 3 }], 204],
    [post('/v1/containers/web/stop', {}), ['stop', 'web', {}], 200],
    [{ method: 'DELETE' as const, url: '/v1/containers/web?force=true' }, ['remove', 'web', true], 204],
    [{ method: 'DELETE' as const, url: '/v1/containers/web' }, ['remove', 'web', false], 204],
    [
      { method: 'GET' as const, url: `/v1/inspect/${encodeURIComponent('[::1]:80/tcp')}` },
      ['inspect', '[::1]:80/tcp'],
      200,
    ],
  ])('%o', async (request, call, status) => {
    const { app, service } = serve()
    const answer = await app.inject(request)
    expect(answer.statusCode).toBe(status)
    expect(service.calls).toEqual([call])
  })

  it('answers with what the service gave', async () => {
    const answer = await serve().app.inject({ method: 'GET', url: '/v1/publications' })
    expect(answer.headers['content-type']).toContain('application/json')
    expect(answer.json()).toEqual([publication])
  })

  it('has no route that the table lacks', async () => {
    const { app } = serve()
    await app.ready()
    for (const { method, path } of Object.values(ROUTES))
      expect(app.hasRoute({ method, url: path })).toBe(true)
    const expected = Object.values(ROUTES).map(({ method }) => method)
    // printRoutes lists each method of each node; HEAD is fastify's own.
    const printed = [...app.printRoutes({ commonPrefix: false }).matchAll(/\(([^)]*)\)/g)]
      .flatMap(match => (match[1] as string).split(', '))
      .filter(method => method !== 'HEAD')
    expect(printed.sort()).toEqual([...expected].sort())
  })
})

describe('refusals', () => {
  it.each([
    ['an unknown field', post('/v1/publications', { specs: ['80'], prot: 'tcp' }), 'prot'],
    ['a missing field', post('/v1/publications', {}), 'body.specs'],
    ['an empty list', post('/v1/publications', { specs: [] }), 'body.specs'],
    ['a field of another type', post('/v1/containers/web/started', { pid: 'x' }), 'body.pid'],
    ['an element', post('/v1/publications', { specs: ['80', 1] }), 'body.specs.1'],
    ['a choice', post('/v1/publications', { specs: ['80'], via: 'pigeon' }), 'body.via'],
    [
      'a query parameter',
      { method: 'DELETE' as const, url: '/v1/containers/web?force=maybe' },
      'query.force',
    ],
    ['a NUL byte in a specification', post('/v1/publications', { specs: ['80', '8\0:80'] }), 'body.specs.1'],
    ['a NUL byte in a target', post('/v1/publications', { specs: ['80'], to: 'netns:/\0' }), 'body.to'],
    ['a NUL byte in an argument', run({ command: ['sh', 'a\0b'] }), 'body.command.1'],
    ['a NUL byte in a variable', run({ env: { A: 'a\0b' } }), 'body.env.A'],
    ["a NUL byte in a variable's name", run({ env: { 'A\0': 'b' } }), 'body.env.A'],
    ['a NUL byte in the working directory', run({ cwd: '/\0' }), 'body.cwd'],
    ['no body at all', { method: 'POST' as const, url: '/v1/publications' }, 'body'],
  ])('names %s', async (_, request, field) => {
    const { app, service } = serve()
    const answer = await app.inject(request)
    expect(answer.statusCode).toBe(400)
    expect(answer.json().code).toBe('request-invalid')
    expect(answer.json().message).toContain(field)
    expect(service.calls).toEqual([])
  })

  it.each([
    ['that is no JSON', '{"specs":', 'application/json', 400],
    ['of another media type', 'specs=80', 'application/x-www-form-urlencoded', 400],
    ['that is too large', JSON.stringify({ specs: ['x'.repeat(5_000_000)] }), 'application/json', 400],
  ])('of a body %s', async (_, payload, type, status) => {
    const answer = await serve().app.inject({
      method: 'POST',
      url: '/v1/publications',
      payload,
      headers: { 'content-type': type },
    })
    expect(answer.statusCode).toBe(status)
    expect(answer.json().code).toBe('request-invalid')
  })

  it('of an unknown route, in our words', async () => {
    const answer = await serve().app.inject({ method: 'GET', url: '/v2/status' })
    expect(answer.statusCode).toBe(404)
    expect(answer.json()).toMatchObject({
      code: 'route-unknown',
      message: 'the API has no route GET /v2/status',
    })
  })

  it('carry an error of the service with its status, hint and details', async () => {
    const thrown = PortctlError.of('state-write-failed', {
      file: '/x/journal',
      why: 'no space left on device',
    })
    const { app } = serve({ publish: () => Promise.reject(thrown) })
    const answer = await app.inject(post('/v1/publications', { specs: ['80'] }))
    expect(answer.statusCode).toBe(507)
    expect(answer.json()).toEqual(JSON.parse(JSON.stringify(thrown)))
  })

  it('hide nothing behind a defect: code internal, with the reason', async () => {
    const { app } = serve({ status: () => Promise.reject(new TypeError('x is not a function')) })
    const answer = await app.inject({ method: 'GET', url: '/v1/status' })
    expect(answer.statusCode).toBe(500)
    expect(answer.json()).toMatchObject({ code: 'internal', message: 'internal error: x is not a function' })
  })
})
