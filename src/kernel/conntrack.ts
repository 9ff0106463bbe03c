/**
 * Connection tracking: NAT is decided by a flow's first packet and then kept in its entry, so an entry that is older
 * than a rule keeps the old fate (a UDP client that never pauses would never reach the new target). Entries are
 * therefore deleted by exact original tuple whenever a rule is added or removed — and never those of other machines'
 * traffic that only passes through. A TCP connection that is not translated ends at the relay or at a service of the
 * host: without its entry its next packet would be translated, so it is left alone.
 *
 * One dump finds what matches, one `conntrack -R -` deletes it, whatever the number of ports (the tool deletes by
 * port, not by range; an entry made between the two by the new rule is lost with the rest, which costs one UDP
 * retransmission or, for TCP, nothing: its next packet opens the entry again). Nothing matched is success. Without the
 * tool the caller gets a note, no failure: new flows are right all the same.
 */
import { familyOf, isLoopback, isWildcard, type PortRange, type Protocol } from '../core/address.ts'
import { PortctlError } from '../core/errors.ts'
import { createLinks } from './link.ts'
import { type Execute, execute as onHost, run } from './process.ts'

export interface FlowSelector {
  readonly protocol: Protocol
  /** Host addresses as published; a wildcard stands for every local address of its family. */
  readonly hostIps: readonly string[]
  readonly ports: PortRange
}

export interface Tuple {
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

/** Live translated flows on one host address and port. */
export interface FlowCount {
  readonly protocol: Protocol
  readonly address: string
  readonly port: number
  readonly flows: number
}

export type Flushed = { readonly flushed: number } | { readonly skipped: PortctlError }

export interface Conntrack {
  /** Deletes flows to these host addresses and ports, and every flow from or to `containers` (addresses). */
  flush(selectors: readonly FlowSelector[], containers?: readonly string[]): Promise<Flushed>
  /** Null without the tool. */
  count(): Promise<readonly FlowCount[] | null>
}

const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'sctp'] satisfies readonly Protocol[]

/** TCP and SCTP states of a flow that has ended and only waits to be forgotten. */
const ENDED = new Set(['TIME_WAIT', 'CLOSE', 'CLOSED'])

/**
 * `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=… dport=… [ASSURED] mark=0 use=1`
 * (`conntrack -L -o extended`). Null for protocols that have no ports.
 */
export const parseFlow = (line: string): Flow | null => {
  const words = line.trim().split(/\s+/)
  const protocol = words[2] ?? ''
  if (!PROTOCOLS.includes(protocol)) return null
  const values = (name: string) =>
    words.filter(w => w.startsWith(`${name}=`)).map(w => w.slice(name.length + 1))
  const [sources, destinations, sourcePorts, destinationPorts] = ['src', 'dst', 'sport', 'dport'].map(values)
  const tuple = (i: 0 | 1): Tuple => ({
    source: sources?.[i] ?? '',
    destination: destinations?.[i] ?? '',
    sourcePort: Number(sourcePorts?.[i]),
    destinationPort: Number(destinationPorts?.[i]),
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

const touches = (flow: Flow, containers: ReadonlySet<string>): boolean =>
  [flow.original.source, flow.original.destination, flow.reply.source, flow.reply.destination].some(address =>
    containers.has(address),
  )

const isSelected = (flow: Flow, selector: FlowSelector, local: (address: string) => boolean): boolean => {
  const { destination, destinationPort } = flow.original
  const { protocol, ports, hostIps } = selector
  if (protocol !== 'udp' && !isTranslated(flow)) return false
  if (flow.protocol !== protocol || destinationPort < ports.first || destinationPort > ports.last)
    return false
  return hostIps.some(ip =>
    isWildcard(ip) ? familyOf(ip) === familyOf(destination) && local(destination) : ip === destination,
  )
}

const protocolOf = ({ protocol, original }: Flow): string =>
  `-f ${familyOf(original.destination) === 6 ? 'ipv6' : 'ipv4'} -p ${protocol}`

/** By protocol, original destination and port: several flows share one deletion. */
const deletionByPort = (flow: Flow): string => {
  const { destination, destinationPort } = flow.original
  const translatedOnly = flow.protocol === 'udp' ? '' : ' --dst-nat'
  return `-D ${protocolOf(flow)} -d ${destination} --dport ${destinationPort}${translatedOnly}`
}

const deletionOf = (flow: Flow): string => {
  const { source, destination, sourcePort, destinationPort } = flow.original
  return `-D ${protocolOf(flow)} -s ${source} -d ${destination} --sport ${sourcePort} --dport ${destinationPort}`
}

const isToolMissing = (error: unknown): error is PortctlError =>
  error instanceof PortctlError && error.code === 'tool-missing'

export const createConntrack = (execute: Execute = onHost): Conntrack => {
  const dump = async (): Promise<readonly Flow[]> => {
    const { stdout } = await run('conntrack', ['-L', '-o', 'extended'], {}, execute)
    return stdout.split('\n').flatMap(line => parseFlow(line) ?? [])
  }

  const localAddresses = async (): Promise<(address: string) => boolean> => {
    const own = new Set((await createLinks(execute).addresses()).map(({ address }) => address))
    return address => own.has(address) || isLoopback(address)
  }

  const flush = async (
    selectors: readonly FlowSelector[],
    containers: readonly string[],
  ): Promise<number> => {
    if (selectors.length === 0 && containers.length === 0) return 0
    const flows = await dump()
    if (flows.length === 0) return 0
    const local = await localAddresses()
    const addresses = new Set(containers)
    const byPort = new Set(
      flows.filter(flow => selectors.some(selector => isSelected(flow, selector, local))),
    )
    const byContainer = flows.filter(flow => !byPort.has(flow) && touches(flow, addresses))
    const lines = new Set([...[...byPort].map(deletionByPort), ...byContainer.map(deletionOf)])
    if (lines.size > 0) await run('conntrack', ['-R', '-'], { input: `${[...lines].join('\n')}\n` }, execute)
    return byPort.size + byContainer.length
  }

  return {
    flush: async (selectors, containers = []) => {
      try {
        return { flushed: await flush(selectors, containers) }
      } catch (error) {
        if (isToolMissing(error)) return { skipped: error }
        throw error
      }
    },
    count: async () => {
      try {
        return tally(await dump())
      } catch (error) {
        if (isToolMissing(error)) return null
        throw error
      }
    },
  }
}

const tally = (flows: readonly Flow[]): readonly FlowCount[] => {
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
