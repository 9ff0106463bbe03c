/** The model in zod, for what comes back from disk. Each schema is held to its type in both directions. */
import * as z from 'zod'
import type { Container, Endpoint, Network, Publication, Target } from './index.ts'

type Mutable<T> = T extends readonly (infer U)[]
  ? Mutable<U>[]
  : T extends object
    ? { -readonly [K in keyof T]: Mutable<T[K]> }
    : T
type Identical<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false

/** Compiles only when the schema's output is exactly T, `readonly` aside. */
export const describes =
  <T>() =>
  <S extends z.ZodType>(
    schema: S & (Identical<Mutable<z.output<S>>, Mutable<T>> extends true ? unknown : never),
  ): S =>
    schema

export const portNumber = z.int().min(1).max(65_535)

const target = describes<Target>()(
  z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('container'), container: z.string() }),
    z.object({ kind: z.literal('address'), address: z.string() }),
    z.object({ kind: z.literal('pid'), pid: z.int().positive(), identity: z.string() }),
    z.object({ kind: z.literal('netns'), path: z.string(), name: z.string().exactOptional() }),
  ]),
)

export const via = z.enum(['auto', 'kernel', 'relay'])

export const publication = describes<Publication>()(
  z.object({
    id: z.string(),
    name: z.string().nullable(),
    protocol: z.enum(['tcp', 'udp', 'sctp']),
    hostIps: z.array(z.string()),
    hostPort: portNumber,
    hostPortEnd: portNumber,
    target,
    targetPort: portNumber,
    targetPortEnd: portNumber,
    via,
    held: z.literal(true).exactOptional(),
  }),
)

const endpoint = describes<Endpoint>()(
  z.object({
    network: z.string(),
    interfaceName: z.string(),
    hostInterface: z.string(),
    ipv4: z.string().nullable(),
    ipv6: z.string().nullable(),
    mac: z.string(),
  }),
)

export const container = describes<Container>()(
  z.object({
    id: z.string(),
    name: z.string(),
    netns: z.string(),
    pid: z.int().positive().nullable(),
    pidStart: z.int().nonnegative().nullable(),
    status: z.enum(['created', 'running', 'exited']),
    exitCode: z.int().nullable(),
    command: z.array(z.string()),
    autoRemove: z.boolean(),
    endpoints: z.array(endpoint),
  }),
)

export const network = describes<Network>()(
  z.object({
    id: z.string(),
    name: z.string(),
    driver: z.literal('bridge'),
    bridge: z.string(),
    subnet4: z.string().nullable(),
    gateway4: z.string().nullable(),
    subnet6: z.string().nullable(),
    gateway6: z.string().nullable(),
  }),
)
