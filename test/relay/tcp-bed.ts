/** What every TCP conformance test stands on: an engine in a namespace of its own, backends, services, clients. */
import { afterAll, afterEach, beforeAll } from 'vitest'
import type { PortRange } from '../../src/core/address.ts'
import {
  DEFAULT_LIMITS,
  type Engine,
  type Limits,
  type RelayTarget,
  type ServiceCounters,
  type ServiceSpec,
} from '../../src/relay/engine.ts'
import { type End, TcpBackend, TcpPeer } from './tcp-peers.ts'
import { enterNamespace } from './udp-peers.ts'

export const LOCAL = '127.0.0.1'
export const LOCAL6 = '::1'

type SpecRest = Partial<Omit<ServiceSpec, 'limits'>> & { readonly limits?: Partial<Limits> }

interface Pair {
  readonly client: TcpPeer
  readonly backend: TcpPeer
  readonly id: string
}

export interface TcpBed {
  readonly engine: Engine
  /** Undone after the test, last first. */
  cleanup(step: () => unknown): void
  /** Ports nothing listens on; the namespace is fresh. */
  ports(count?: number): PortRange
  spec(target: RelayTarget | null, targetPorts: number | PortRange, rest?: SpecRest): ServiceSpec
  open(
    target: RelayTarget | null,
    targetPorts: number | PortRange,
    rest?: SpecRest,
  ): Promise<{ id: string; port: number }>
  counters(id: string): Promise<ServiceCounters>
  listen(address?: string, port?: number): Promise<TcpBackend>
  echo(address?: string, port?: number): Promise<TcpBackend>
  dial(port: number, address?: string, localPort?: number): Promise<TcpPeer>
  /** How a client ends that sends nothing and is not served. */
  turnedAway(port: number, address?: string): Promise<End>
  /** A client and a backend with the relay between them. */
  pair(limits?: Partial<Limits>): Promise<Pair>
}

export const tcpBed = (factory: () => Engine | Promise<Engine>): TcpBed => {
  let engine: Engine
  let nextPort = 20_000
  let nextId = 0
  const steps: (() => unknown)[] = []

  beforeAll(async () => {
    enterNamespace()
    engine = await factory()
  })
  afterEach(async () => {
    await engine.close((await engine.services()).map(service => service.id))
    for (const step of steps.splice(0).reverse()) await step()
  })
  afterAll(async () => {
    await engine?.shutdown()
  })

  const bed: TcpBed = {
    get engine() {
      return engine
    },
    cleanup: step => void steps.push(step),
    ports(count = 1) {
      nextPort += count
      return { first: nextPort - count, last: nextPort - 1 }
    },
    spec: (target, targetPorts, rest = {}) => ({
      id: `tcp-${nextId++}`,
      protocol: 'tcp',
      addresses: [LOCAL],
      ports: bed.ports(),
      target,
      targetPorts: typeof targetPorts === 'number' ? { first: targetPorts, last: targetPorts } : targetPorts,
      ...rest,
      limits: { ...DEFAULT_LIMITS, ...rest.limits },
    }),
    async open(...args) {
      const service = bed.spec(...args)
      await engine.open([service])
      return { id: service.id, port: service.ports.first }
    },
    async counters(id) {
      const found = (await engine.counters()).get(id)
      if (found === undefined) throw new Error(`no counters for ${id}`)
      return found
    },
    async listen(address = LOCAL, port = 0) {
      const backend = await TcpBackend.listen(address, port)
      bed.cleanup(() => backend.close())
      return backend
    },
    async echo(address = LOCAL, port = 0) {
      const backend = await TcpBackend.echo(address, port)
      bed.cleanup(() => backend.close())
      return backend
    },
    async dial(port, address = LOCAL, localPort) {
      const peer = await TcpPeer.connect(address, port, localPort)
      bed.cleanup(() => peer.socket.destroy())
      return peer
    },
    turnedAway(port, address = LOCAL) {
      const peer = TcpPeer.start(address, port)
      bed.cleanup(() => peer.socket.destroy())
      return peer.end()
    },
    async pair(limits = {}) {
      const server = await bed.listen()
      const { id, port } = await bed.open({ address: LOCAL }, server.port, { limits })
      const client = await bed.dial(port)
      return { client, backend: await server.accept(), id }
    },
  }
  return bed
}
