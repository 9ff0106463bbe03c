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
import { familyOf, isLoopback } from '../core/address.ts'
import { PortctlError } from '../core/errors.ts'
import { countFlows, type Flow, type FlowCount, type FlowSelector, parseFlow, selectFlows } from './flow.ts'
import { createLinks } from './link.ts'
import { type Execute, execute as onHost, run } from './process.ts'

export type { FlowCount, FlowSelector } from './flow.ts'

export type Flushed = { readonly flushed: number } | { readonly skipped: PortctlError }

export interface Conntrack {
  /** Deletes flows to these host addresses and ports, and every flow from or to `containers` (addresses). */
  flush(selectors: readonly FlowSelector[], containers?: readonly string[]): Promise<Flushed>
  /** Null without the tool. */
  count(): Promise<readonly FlowCount[] | null>
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
    const { byPort, byContainer } = selectFlows(flows, selectors, containers, await localAddresses())
    const lines = new Set([...byPort.map(deletionByPort), ...byContainer.map(deletionOf)])
    if (lines.size > 0) await run('conntrack', ['-R', '-'], { input: `${[...lines].join('\n')}\n` }, execute)
    return byPort.length + byContainer.length
  }

  return {
    flush: (selectors, containers = []) =>
      withoutTool<Flushed>(
        async () => ({ flushed: await flush(selectors, containers) }),
        skipped => ({ skipped }),
      ),
    count: () =>
      withoutTool<readonly FlowCount[] | null>(
        async () => countFlows(await dump()),
        () => null,
      ),
  }
}

const withoutTool = async <T>(use: () => Promise<T>, otherwise: (missing: PortctlError) => T): Promise<T> => {
  try {
    return await use()
  } catch (error) {
    if (error instanceof PortctlError && error.code === 'tool-missing') return otherwise(error)
    throw error
  }
}
