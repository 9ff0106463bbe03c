/**
 * What the UDP suites stand on: an engine and peers in a network namespace of their own. Ports there are ours alone.
 */
import { readdirSync, readFileSync } from 'node:fs'
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
import { enterNamespace, Peer } from './udp-peers.ts'

export const LOCAL = '127.0.0.1'

/** IPv4 datagrams that were read from their sockets, in the network namespace of this thread, since it was made. */
export const readDatagrams = (): number => {
  const [names, values] = readFileSync('/proc/thread-self/net/snmp', 'utf8')
    .split('\n')
    .filter(line => line.startsWith('Udp: '))
    .map(line => line.split(' '))
  return Number(values?.[names?.indexOf('InDatagrams') ?? -1])
}

export const openDescriptors = (): number => readdirSync('/proc/self/fd').length

/** What an engine can do beyond plain sockets. */
export interface UdpAbilities {
  /** Answers from the address asked although the listener is a wildcard. */
  readonly pktinfo: boolean
  /** Connects from inside another network namespace. */
  readonly netns: boolean
}

export type MakeEngine = () => Engine | Promise<Engine>

export type UdpBed = ReturnType<typeof udpBed>

/** Sets up before, and cleans up after, the tests of the suite that it is called in. */
export const udpBed = (factory: MakeEngine) => {
  let engine: Engine
  let nextPort = 20_000
  let nextId = 0
  const cleanups: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    enterNamespace()
    engine = await factory()
  })
  afterEach(async () => {
    await engine.close((await engine.services()).map(service => service.id))
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  })
  afterAll(async () => {
    await engine?.shutdown()
  })

  const ports = (count = 1): PortRange => {
    nextPort += count
    return { first: nextPort - count, last: nextPort - 1 }
  }
  const port = () => ports().first
  const keep = (peer: Peer): Peer => {
    cleanups.push(() => peer.close())
    return peer
  }
  const client = async (address: string, at: number) => keep(await Peer.connect(address, at))
  const backend = async (address = LOCAL, at = 0) => keep(await Peer.bind(address, at))
  const echo = async (address = LOCAL, at = 0) => keep(await Peer.bind(address, at, { echo: true }))

  const spec = (
    target: RelayTarget | null,
    targetPorts: number | PortRange,
    rest: Partial<Omit<ServiceSpec, 'limits'>> & { readonly limits?: Partial<Limits> } = {},
  ): ServiceSpec => ({
    id: `udp-${nextId++}`,
    protocol: 'udp',
    addresses: [LOCAL],
    ports: ports(),
    target,
    targetPorts: typeof targetPorts === 'number' ? { first: targetPorts, last: targetPorts } : targetPorts,
    ...rest,
    limits: { ...DEFAULT_LIMITS, ...rest.limits },
  })
  const open = async (...args: Parameters<typeof spec>) => {
    const service = spec(...args)
    await engine.open([service])
    return { id: service.id, port: service.ports.first }
  }
  const counters = async (id: string): Promise<ServiceCounters> => {
    const found = (await engine.counters()).get(id)
    if (found === undefined) throw new Error(`no counters for ${id}`)
    return found
  }

  return {
    get engine() {
      return engine
    },
    cleanups,
    ports,
    port,
    client,
    backend,
    echo,
    spec,
    open,
    counters,
  }
}
