/** Live flows on the kernel path, counted per publication. Pure. */
import { familyOf, isWildcard } from '../core/address.ts'
import type { FlowCount } from '../kernel/conntrack.ts'
import type { Publication } from '../model/index.ts'

const carries = (p: Publication, { protocol, address, port }: FlowCount): boolean =>
  p.protocol === protocol &&
  p.hostPort <= port &&
  port <= p.hostPortEnd &&
  p.hostIps.some(ip => ip === address || (isWildcard(ip) && familyOf(ip) === familyOf(address)))

/** Publication id → flows. One pass over the flows, with the single ports looked up. */
export const activeFlows = (
  publications: Iterable<Publication>,
  counts: readonly FlowCount[],
): ReadonlyMap<string, number> => {
  const singles = new Map<number, Publication[]>()
  const ranges: Publication[] = []
  for (const p of publications) {
    if (p.hostPort !== p.hostPortEnd) ranges.push(p)
    else singles.set(p.hostPort, [...(singles.get(p.hostPort) ?? []), p])
  }
  const active = new Map<string, number>()
  for (const count of counts) {
    const owner = [...(singles.get(count.port) ?? []), ...ranges].find(p => carries(p, count))
    if (owner !== undefined) active.set(owner.id, (active.get(owner.id) ?? 0) + count.flows)
  }
  return active
}
