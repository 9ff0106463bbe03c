/**
 * What a publish request asks for, before any port is chosen: specifications that differ only in the host
 * address become one draft (docker's rule: they get one host port), and a draft knows the host ports it would
 * take, in the order in which to try them. Specifications whose addresses meet stay apart: one is asked for twice,
 * which for a given port can't be had, and for one to be picked means two. Pure.
 */
import { type Address, type PortRange, type Protocol, wildcard } from '../core/address.ts'
import { type PublishSpec, parsePublishSpec } from '../core/spec.ts'
import { addressesMeet } from './port-book.ts'

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
  const drafts: Draft[] = []
  const alike = new Map<string, { readonly hostIps: Address[] }[]>()
  for (const spec of specs.map(parsePublishSpec).flatMap(single)) {
    const addresses = spec.hostIp === null ? families.map(wildcard) : [spec.hostIp]
    const others = alike.get(key(spec)) ?? []
    const other = others.find(({ hostIps }) => !hostIps.some(a => addresses.some(b => addressesMeet(a, b))))
    if (other !== undefined) {
      other.hostIps.push(...addresses)
      continue
    }
    const { protocol, targetPorts, pick, hostPorts } = spec
    const draft = { hostIps: addresses, protocol, targetPorts, pick, hostPorts }
    drafts.push(draft)
    alike.set(key(spec), [...others, draft])
  }
  return drafts
}

/** Given ports come first, those from any port last: a draft takes none that another could not do without. */
export const inClaimOrder = (drafts: readonly Draft[]): readonly Draft[] =>
  drafts.toSorted((a, b) => latitude(a) - latitude(b))

/** Of ranges the one that ends first goes first: as each takes its lowest free port, all get one if there is any way. */
const latitude = ({ pick, hostPorts }: Draft): number =>
  pick === 'one-to-one' ? 0 : (hostPorts?.last ?? Number.MAX_SAFE_INTEGER)

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
