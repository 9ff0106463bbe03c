/** Connection tracking in memory: the flows given, selected and counted as the real one does. */
import { isLoopback } from '../../core/address.ts'
import type { Conntrack } from '../conntrack.ts'
import { countFlows, type Flow, selectFlows } from '../flow.ts'

export interface FakeConntrack extends Conntrack {
  flows: readonly Flow[]
}

/** `local` are the host's own addresses. */
export const createFakeConntrack = (
  flows: readonly Flow[] = [],
  local: readonly string[] = [],
): FakeConntrack => {
  const fake: FakeConntrack = {
    flows,
    flush: async (selectors, containers = []) => {
      const isLocal = (address: string): boolean => local.includes(address) || isLoopback(address)
      const { byPort, byContainer } = selectFlows(fake.flows, selectors, containers, isLocal)
      const gone = new Set([...byPort, ...byContainer])
      fake.flows = fake.flows.filter(flow => !gone.has(flow))
      return { flushed: gone.size }
    },
    count: async () => countFlows(fake.flows),
  }
  return fake
}
