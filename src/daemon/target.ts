/** From a target as named by the user to one that can be stored; refuses what does not exist. */

import { PortctlError } from '../core/errors.ts'
import { identityOf } from '../core/process-identity.ts'
import { parseTarget } from '../core/target.ts'
import { isNamespace, netnsOfPid } from '../kernel/netns.ts'
import { requireRoute } from '../kernel/reach.ts'
import type { Container, Target } from '../model/index.ts'
import type { Containers } from './containers.ts'

interface Around {
  readonly containers: Containers
  readonly all: ReadonlyMap<string, Container>
}

/** Without `to`: the only container there is; if there is none, this host's loopback. */
const implied = (all: ReadonlyMap<string, Container>): Target => {
  const [only, ...others] = [...all.values()]
  if (only === undefined) return { kind: 'address', address: '127.0.0.1' }
  if (others.length === 0) return { kind: 'container', container: only.id }
  throw PortctlError.of('target-ambiguous', { names: [...all.values()].map(c => c.name).join(', ') })
}

/** setns(2). */
const requireEntry = (to: string): void => {
  if (process.geteuid?.() !== 0)
    throw PortctlError.of('not-permitted', { what: `connecting from inside ${to}`, needs: 'CAP_SYS_ADMIN' })
}

/** @throws `not-permitted`, `target-invalid`, `target-ambiguous`, `target-gone`, `target-unreachable`, `container-not-found` */
export const resolveTarget = async (to: string | undefined, around: Around): Promise<Target> => {
  if (to === undefined) return implied(around.all)
  const ref = parseTarget(to)
  switch (ref.kind) {
    case 'container':
      return { kind: 'container', container: around.containers.get(ref.name).id }
    case 'address':
      await requireRoute(ref.address)
      return ref
    case 'pid': {
      requireEntry(to)
      const identity = identityOf(ref.pid)
      if (identity === null || !(await isNamespace(netnsOfPid(ref.pid))))
        throw PortctlError.of('target-gone', { target: to, why: 'there is no such process' })
      return { ...ref, identity }
    }
    case 'netns':
      requireEntry(to)
      if (!(await isNamespace(ref.path)))
        throw PortctlError.of('target-gone', {
          target: to,
          why: `there is no network namespace at ${ref.path}`,
        })
      return ref
    default:
      return ref satisfies never
  }
}
