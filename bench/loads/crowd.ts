/** Many idle connections at once, held by as many agents as their descriptors need. */
import type { Address, Agent } from '../agent/protocol.ts'
import type { Netns } from '../lab/process.ts'
import { agentIn } from './agent.ts'

/** Connections an agent holds: well below the 20,000 descriptors that a process may have where nobody raised the limit. */
const EACH = 8_000

export interface Crowd {
  /** Opens or closes connections until so many are open. */
  size(count: number): Promise<void>
}

/** Processes that have descriptors for one end of so many connections. */
export const processesFor = (count: number): number => Math.max(1, Math.ceil(count / EACH))

/** Agent 0 of the namespace stays free, and has no crowd in its heap. */
export const crowdIn = (netns: Netns, to: Address): Crowd => {
  let open = 0
  const members: Agent[] = []
  const share = (count: number, member: number): number => Math.max(0, Math.min(EACH, count - member * EACH))
  return {
    async size(count) {
      while (members.length < processesFor(count)) members.push(agentIn(netns, members.length + 1))
      if (count < open) {
        await Promise.all(members.map(member => member.release({})))
        open = 0
      }
      await Promise.all(
        members.map((member, i) => member.hold({ ...to, count: share(count, i) - share(open, i) })),
      )
      open = count
    },
  }
}
