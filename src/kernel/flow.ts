/** Flows as connection tracking sees them, and which of them a change concerns. Pure. */
import { familyOf, isWildcard, type PortRange, type Protocol } from '../core/address.ts'

interface Tuple {
  readonly source: string
  readonly destination: string
  readonly sourcePort: number
  readonly destinationPort: number
}

export interface Flow {
  readonly protocol: Protocol
  /** TCP and SCTP: ESTABLISHED, TIME_WAIT, …; null for UDP. */
  readonly state: string | null
  readonly original: Tuple
  readonly reply: Tuple
}

export interface FlowSelector {
  readonly protocol: Protocol
  /** Host addresses as published; a wildcard stands for every local address of its family. */
  readonly hostIps: readonly string[]
  readonly ports: PortRange
}

/** Live translated flows on one host address and port. */
export interface FlowCount {
  readonly protocol: Protocol
  readonly address: string
  readonly port: number
  readonly flows: number
}

const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'sctp'] satisfies readonly Protocol[]

/** States of a flow that has ended and only waits to be forgotten. */
const ENDED = new Set(['TIME_WAIT', 'CLOSE', 'CLOSED'])

/**
 * A line of `conntrack -L -o extended`:
 * `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=… dport=… [ASSURED] mark=0 use=1`.
 * Null for protocols that have no ports.
 */
export const parseFlow = (line: string): Flow | null => {
  const words = line.trim().split(/\s+/)
  const protocol = words[2] ?? ''
  if (!PROTOCOLS.includes(protocol)) return null
  const values = (name: string) =>
    words.filter(word => word.startsWith(`${name}=`)).map(word => word.slice(name.length + 1))
  const [sources, destinations, sourcePorts, destinationPorts] = ['src', 'dst', 'sport', 'dport'].map(values)
  const tuple = (direction: 0 | 1): Tuple => ({
    source: sources?.[direction] ?? '',
    destination: destinations?.[direction] ?? '',
    sourcePort: Number(sourcePorts?.[direction]),
    destinationPort: Number(destinationPorts?.[direction]),
  })
  const state = words[5] ?? ''
  return {
    protocol: protocol as Protocol,
    state: /^[A-Z_]+$/.test(state) ? state : null,
    original: tuple(0),
    reply: tuple(1),
  }
}

/** DNAT shows as an answer that comes from elsewhere than the packet was sent to. */
const isTranslated = ({ original, reply }: Flow): boolean =>
  original.destination !== reply.source || original.destinationPort !== reply.sourcePort

const matches = (flow: Flow, selector: FlowSelector, isLocal: (address: string) => boolean): boolean => {
  const { destination, destinationPort } = flow.original
  const { protocol, ports, hostIps } = selector
  if (flow.protocol !== protocol || destinationPort < ports.first || destinationPort > ports.last)
    return false
  if (protocol !== 'udp' && !isTranslated(flow)) return false
  return hostIps.some(ip =>
    isWildcard(ip) ? familyOf(ip) === familyOf(destination) && isLocal(destination) : ip === destination,
  )
}

const touches = ({ original, reply }: Flow, addresses: ReadonlySet<string>): boolean =>
  [original.source, original.destination, reply.source, reply.destination].some(a => addresses.has(a))

export interface Selected {
  readonly byPort: readonly Flow[]
  readonly byContainer: readonly Flow[]
}

/** `isLocal` tells the addresses of this host from those that it only forwards to. */
export const selectFlows = (
  flows: readonly Flow[],
  selectors: readonly FlowSelector[],
  containers: readonly string[],
  isLocal: (address: string) => boolean,
): Selected => {
  const addresses = new Set(containers)
  const byPort: Flow[] = []
  const byContainer: Flow[] = []
  for (const flow of flows) {
    if (selectors.some(selector => matches(flow, selector, isLocal))) byPort.push(flow)
    else if (touches(flow, addresses)) byContainer.push(flow)
  }
  return { byPort, byContainer }
}

export const countFlows = (flows: readonly Flow[]): readonly FlowCount[] => {
  const counts = new Map<string, FlowCount>()
  for (const flow of flows) {
    if (!isTranslated(flow) || ENDED.has(flow.state ?? '')) continue
    const { protocol, original } = flow
    const { destination: address, destinationPort: port } = original
    const key = `${protocol} ${address} ${port}`
    counts.set(key, { protocol, address, port, flows: (counts.get(key)?.flows ?? 0) + 1 })
  }
  return [...counts.values()]
}
