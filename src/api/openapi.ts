/** The OpenAPI document, made from the route table and its schemas. docs/openapi.json is this, and a test keeps it so. */
import * as z from 'zod'
import { type Operation, pathParameters, ROUTES } from './routes.ts'
import { COMPONENTS, SCHEMAS, type Shapes } from './schemas.ts'

type Json = Readonly<Record<string, unknown>>

export const openApiDocument = (): Json => {
  const shapes = namedShapes()
  const ref = (schema: z.ZodType) => ({
    'application/json': { schema: { $ref: reference(shapes.get(schema)?.id as string) } },
  })
  const paths: Record<string, Record<string, Json>> = {}
  for (const [name, route] of Object.entries(ROUTES)) {
    const { body, query, response }: Shapes = SCHEMAS[name as Operation]
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] ??= {}
    paths[path][route.method.toLowerCase()] = {
      operationId: name,
      summary: route.summary,
      parameters: [...pathParameters(route.path).map(pathParameter), ...queryParameters(query)],
      ...(body === undefined ? {} : { requestBody: { required: true, content: ref(body) } }),
      responses: {
        [route.status]: {
          description: 'Done',
          ...(response === undefined ? {} : { content: ref(response) }),
        },
        default: { description: 'Failed; docs/errors.md lists the codes', content: ref(COMPONENTS.Error) },
      },
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'portctl',
      version: '1',
      description:
        'The API of the portctl daemon: HTTP and JSON on the unix socket $PORTCTL_RUN_DIR/portctl.sock.',
    },
    servers: [{ url: 'http://localhost', description: 'The Host header is ignored' }],
    paths,
    components: { schemas: jsonSchemas(shapes) },
  }
}

const reference = (id: string): string => `#/components/schemas/${id}`

/** Every schema of the API under the name that it has in the document: its own, or its operation's. */
const namedShapes = () => {
  const registry = z.registry<{ id: string }>()
  for (const [id, schema] of Object.entries(COMPONENTS)) registry.add(schema, { id })
  for (const [operation, { body, response }] of Object.entries(SCHEMAS) as [string, Shapes][]) {
    const title = operation.charAt(0).toUpperCase() + operation.slice(1)
    if (body !== undefined && !registry.has(body)) registry.add(body, { id: `${title}Request` })
    if (response !== undefined && !registry.has(response)) registry.add(response, { id: `${title}Response` })
  }
  return registry
}

/** As input: a client must take answers that have more fields than the document lists. */
const jsonSchemas = (shapes: ReturnType<typeof namedShapes>): Json => {
  const { schemas } = z.toJSONSchema(shapes, { io: 'input', uri: reference })
  return Object.fromEntries(Object.entries(schemas).map(([id, { $schema, $id, ...schema }]) => [id, schema]))
}

const pathParameter = (name: string): Json => ({
  name,
  in: 'path',
  required: true,
  schema: { type: 'string' },
})

const queryParameters = (query: z.ZodObject | undefined): readonly Json[] =>
  Object.entries(query?.shape ?? {}).map(([name, schema]) => {
    const { $schema, ...plain } = z.toJSONSchema(schema as z.ZodType, { io: 'input' })
    return { name, in: 'query', required: !(schema as z.ZodType).safeParse(undefined).success, schema: plain }
  })
