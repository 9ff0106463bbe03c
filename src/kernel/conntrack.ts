/**
 * Connection tracking: NAT is decided by a flow's first packet and then kept in its entry, so an entry that is older
 * than a rule keeps the old fate (a UDP client that never pauses would never reach the new target). Entries are
 * therefore deleted by exact original tuple whenever a rule is added or removed — and never those of other machines'
 * traffic that only passes through. A TCP connection that is not translated ends at the relay or at a service of the
 * host: without its entry its next packet would be translated, so it is left alone.
 *
 * One dump finds what matches. A few deletions go to `conntrack -R -` in one process start; each of them walks the whole
 * table, so many go over netlink (ctnetlink.ts), where that is possible. An entry that the new rule makes in between is
 * lost with the rest: its next packet opens it again, the same way. Nothing matched is success. Without the tool the
 * caller gets a note, no failure: new flows are right all the same.
 */
import { familyOf, isLoopback } from '../core/address.ts'
import { PortctlError } from '../core/errors.ts'
import { countFlows, type Flow, type FlowCount, type FlowSelector, parseFlow, selectFlows } from './flow.ts'
import { createLinks } from './link.ts'
import { type Execute, execute as onHost, run } from './process.ts'

export type { FlowCount } from './flow.ts'

type Flushed = { readonly flushed: number } | { readonly skipped: PortctlError }

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

/** All that has to do with an address, as source, as destination, or as what answers. */
const deletionsByAddress = (address: string): readonly string[] =>
  ['-s', '-d', '-r'].map(role => `-D -f ${familyOf(address) === 6 ? 'ipv6' : 'ipv4'} ${role} ${address}`)

/** Deletions that are left to the tool: 13 ms each, against the 10 ms and the memory of loading FFI. */
const FEW = 4

/** Deletes exactly these entries, in the namespace of this process. */
export type DeleteFlows = (flows: readonly Flow[]) => Promise<void>

const isUnavailable = (error: unknown): boolean =>
  error instanceof PortctlError && error.code === 'libc-unavailable'

export const createConntrack = (execute: Execute = onHost, deleteFlows?: DeleteFlows): Conntrack => {
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
    const selected = [...byPort, ...byContainer]
    const lines = new Set([
      ...byPort.map(deletionByPort),
      ...(byContainer.length === 0 ? [] : containers.flatMap(deletionsByAddress)),
    ])
    if (lines.size > FEW && (await inBulk(selected))) return selected.length
    if (lines.size > 0) await run('conntrack', ['-R', '-'], { input: `${[...lines].join('\n')}\n` }, execute)
    return selected.length
  }

  /** False where FFI is not to be had. */
  const inBulk = async (flows: readonly Flow[]): Promise<boolean> => {
    if (deleteFlows === undefined) return false
    try {
      await deleteFlows(flows)
      return true
    } catch (error) {
      if (isUnavailable(error)) return false
      throw error
    }
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
