/**
 * What a publish request asks for, before any port is chosen: specifications that differ only in the host
 * address become one draft (docker's rule: they get one host port), and a draft knows the host ports it would
 * take, in the order in which to try them. Pure.
 */
import { type Address, type PortRange, type Protocol, wildcard } from '../core/address.ts'
import { type PublishSpec, parsePublishSpec } from '../core/spec.ts'

export interface Draft {
  readonly hostIps: readonly Address[]
  readonly protocol: Protocol
  readonly targetPorts: PortRange
  readonly pick: PublishSpec['pick']
  readonly hostPorts: PortRange | null
}

const key = (spec: PublishSpec) =>
  JSON.stringify([spec.protocol, spec.pick, spec.hostPorts, spec.targetPorts])

/** Every port of its own: `80-81` without host ports is two publications, each with a free port (docker's rule). */
const single = (spec: PublishSpec): PublishSpec[] => {
  if (spec.pick !== 'ephemeral') return [spec]
  const { first, last } = spec.targetPorts
  return Array.from({ length: last - first + 1 }, (_, i) => ({
    ...spec,
    targetPorts: { first: first + i, last: first + i },
  }))
}

/** @param families wildcards that "every local address" stands for; IPv6 is left out where the host has none. */
export const draftsOf = (specs: readonly string[], families: readonly (4 | 6)[]): Draft[] => {
  const groups = new Map<string, { spec: PublishSpec; hostIps: Set<Address> }>()
  for (const spec of specs.map(parsePublishSpec).flatMap(single)) {
    const addresses = spec.hostIp === null ? families.map(wildcard) : [spec.hostIp]
    const group = groups.get(key(spec))
    if (group === undefined) groups.set(key(spec), { spec, hostIps: new Set(addresses) })
    else for (const address of addresses) group.hostIps.add(address)
  }
  return [...groups.values()].map(({ spec, hostIps }) => ({
    // A wildcard swallows the addresses of its family.
    hostIps: [...hostIps].filter(
      ip => ip === wildcard(4) || ip === wildcard(6) || !hostIps.has(wildcard(ip.includes(':') ? 6 : 4)),
    ),
    protocol: spec.protocol,
    targetPorts: spec.targetPorts,
    pick: spec.pick,
    hostPorts: spec.hostPorts,
  }))
}

/** The ports of ip_local_port_range that may be given out, next-fit: a freed port is not reused until the cursor wraps. */
export interface EphemeralPorts {
  readonly range: PortRange
  readonly reserved: ReadonlySet<number>
  cursor: number
}

/** Host ports to try, best first. */
export function* candidates(draft: Draft, ephemeral: EphemeralPorts): Generator<PortRange> {
  switch (draft.pick) {
    case 'one-to-one':
      yield draft.hostPorts as PortRange
      return
    case 'one-of-range': {
      const { first, last } = draft.hostPorts as PortRange
      for (let port = first; port <= last; port++) yield { first: port, last: port }
      return
    }
    case 'ephemeral': {
      const { first, last } = ephemeral.range
      for (let tries = first; tries <= last; tries++) {
        const port = ephemeral.cursor < first || ephemeral.cursor > last ? first : ephemeral.cursor
        ephemeral.cursor = port + 1
        if (!ephemeral.reserved.has(port)) yield { first: port, last: port }
      }
      return
    }
    default:
      draft.pick satisfies never
  }
}
