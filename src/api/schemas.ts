/** What each operation of the API takes and gives, in zod; `views.ts` has the same as types, and the two can't differ. */
import * as z from 'zod'
import { describes, portNumber, via } from '../model/schema.ts'
import type { Operation } from './routes.ts'
import type {
  ContainerDetail,
  ContainerView,
  ExitedRequest,
  HoldRequest,
  InspectView,
  PublicationView,
  PublishRequest,
  PublishResponse,
  RunRequest,
  RunResponse,
  StartedRequest,
  StatusView,
  StopRequest,
  UnpublishRequest,
  UnpublishResponse,
} from './views.ts'

const count = z.int().nonnegative()
/** No text of a request may hold a NUL byte: neither a path nor an argument or variable of a process can. */
const plain = z.string().refine(value => !value.includes('\0'), 'contains a NUL byte')
const text = plain.min(1)

const publication = describes<PublicationView>()(
  z.object({
    id: z.string(),
    name: z.string().nullable(),
    protocol: z.string(),
    hostIps: z.array(z.string()),
    hostPort: portNumber,
    hostPortEnd: portNumber,
    container: z.string().nullable(),
    target: z.string(),
    targetPort: portNumber,
    targetPortEnd: portNumber,
    via: z.enum(['kernel', 'relay']),
    state: z.string(),
    connections: z.object({ active: count, total: count }),
    bytes: z.object({ in: count, out: count }),
  }),
)

const container = describes<ContainerView>()(
  z.object({
    name: z.string(),
    id: z.string(),
    pid: z.int().positive().nullable(),
    netns: z.string(),
    status: z.string(),
    networks: z.record(
      z.string(),
      z.object({
        ipv4: z.string().nullable(),
        ipv6: z.string().nullable(),
        mac: z.string(),
        gateway: z.string().nullable(),
      }),
    ),
    ports: z.array(z.string()),
  }),
)

const containerDetail = describes<ContainerDetail>()(
  container.extend({
    command: z.array(z.string()),
    exitCode: z.int().nullable(),
    autoRemove: z.boolean(),
    resolvConf: z.string(),
    logFile: z.string().nullable(),
  }),
)

const status = describes<StatusView>()(
  z.object({
    version: z.string(),
    pid: z.int().positive(),
    relayPid: z.int().positive().nullable(),
    uptimeSeconds: z.number().nonnegative(),
    runDir: z.string(),
    stateDir: z.string(),
    publications: count,
    containers: count,
    networks: count,
  }),
)

const publishRequest = describes<PublishRequest>()(
  z.strictObject({
    specs: z.array(text).min(1),
    to: text.exactOptional(),
    name: text.exactOptional(),
    via: via.exactOptional(),
    held: z.boolean().exactOptional(),
  }),
)

const publishResponse = describes<PublishResponse>()(
  z.object({ publications: z.array(publication), notes: z.array(z.string()) }),
)

const unpublishRequest = describes<UnpublishRequest>()(
  z.strictObject({
    refs: z.array(text).exactOptional(),
    all: z.boolean().exactOptional(),
    missingOk: z.boolean().exactOptional(),
  }),
)

const holdRequest = describes<HoldRequest>()(z.strictObject({ ids: z.array(text).min(1) }))

const unpublishResponse = describes<UnpublishResponse>()(
  z.object({ publications: z.array(publication.omit({ connections: true, bytes: true })) }),
)

const runRequest = describes<RunRequest>()(
  z.strictObject({
    name: text.exactOptional(),
    network: text.exactOptional(),
    ip: text.exactOptional(),
    publish: z.array(text).exactOptional(),
    command: z.array(plain).min(1),
    detach: z.boolean(),
    autoRemove: z.boolean(),
    env: z.record(plain, plain).exactOptional(),
    cwd: text.exactOptional(),
  }),
)

const runResponse = describes<RunResponse>()(
  z.object({
    container: containerDetail,
    publications: z.array(publication),
    notes: z.array(z.string()),
  }),
)

const startedRequest = describes<StartedRequest>()(z.strictObject({ pid: z.int().positive() }))
const exitedRequest = describes<ExitedRequest>()(z.strictObject({ exitCode: z.int().min(0).max(255) }))
const stopRequest = describes<StopRequest>()(
  z.strictObject({ timeoutSeconds: z.number().nonnegative().max(86_400).exactOptional() }),
)

const inspectView = describes<InspectView>()(
  z.discriminatedUnion('kind', [
    containerDetail.extend({ kind: z.literal('container') }),
    publication.extend({ kind: z.literal('publication') }),
  ]),
)

/** Names under which docs/openapi.json lists the shapes. */
export const COMPONENTS = {
  Publication: publication,
  Container: container,
  ContainerDetail: containerDetail,
  Error: z.object({
    code: z.string().describe('A row of docs/errors.md'),
    message: z.string(),
    hint: z.string().exactOptional(),
    details: z.record(z.string(), z.unknown()).exactOptional(),
  }),
} as const

export interface Shapes {
  readonly body?: z.ZodType
  readonly query?: z.ZodObject
  /** Absent: the answer has no body. */
  readonly response?: z.ZodType
}

export const SCHEMAS = {
  status: { response: status },
  listPublications: { response: z.array(publication) },
  publish: { body: publishRequest, response: publishResponse },
  hold: { body: holdRequest },
  unpublish: { body: unpublishRequest, response: unpublishResponse },
  listContainers: { response: z.array(container) },
  run: { body: runRequest, response: runResponse },
  container: { response: containerDetail },
  started: { body: startedRequest, response: containerDetail },
  exited: { body: exitedRequest },
  stop: { body: stopRequest, response: containerDetail },
  remove: { query: z.strictObject({ force: z.enum(['true', 'false']).exactOptional() }) },
  inspect: { response: inspectView },
} as const satisfies Record<Operation, Shapes>
