/** Which publications a user means: by id, name, host port, specification, or the first digits of an id. Pure. */
import { PortctlError } from '../core/errors.ts'
import { type PublishSpec, parsePublishSpec } from '../core/spec.ts'
import type { Publication } from '../model/index.ts'

const asSpec = (text: string): PublishSpec | null => {
  try {
    return parsePublishSpec(text)
  } catch {
    return null
  }
}

/** A lone port means the host's, as `ls` shows it first: `8080`, `53/udp`. */
const matches = (p: Publication, spec: PublishSpec): boolean => {
  const host = spec.hostPorts ?? spec.targetPorts
  const targetAgrees =
    spec.hostPorts === null ||
    (p.targetPort === spec.targetPorts.first && p.targetPortEnd === spec.targetPorts.last)
  return (
    p.protocol === spec.protocol &&
    p.hostPort === host.first &&
    p.hostPortEnd === host.last &&
    targetAgrees &&
    (spec.hostIp === null || p.hostIps.includes(spec.hostIp))
  )
}

const SHORTEST_PREFIX = 4

/** None, when nothing answers to it. */
export const lookUpPublications = (
  ref: string,
  all: ReadonlyMap<string, Publication>,
): readonly Publication[] => {
  const byId = all.get(ref)
  if (byId !== undefined) return [byId]
  const list = [...all.values()]
  const byName = list.filter(p => p.name === ref)
  if (byName.length > 0) return byName
  const spec = asSpec(ref)
  const bySpec = spec === null ? [] : list.filter(p => matches(p, spec))
  if (bySpec.length > 0) return bySpec
  const byPrefix = ref.length < SHORTEST_PREFIX ? [] : list.filter(p => p.id.startsWith(ref))
  return byPrefix.length === 1 ? byPrefix : []
}

/** @throws `publication-not-found` */
export const findPublications = (
  ref: string,
  all: ReadonlyMap<string, Publication>,
): readonly Publication[] => {
  const found = lookUpPublications(ref, all)
  if (found.length === 0) throw PortctlError.of('publication-not-found', { ref })
  return found
}
