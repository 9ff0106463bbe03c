/**
 * UDP services of the portable engine: listeners, and a table of flows in order of last use.
 *
 * A flow ends when no datagram passed either way for `flowTimeout`, when the table is full and it is the one unused
 * for longest, when the service is pointed elsewhere, or with the service. A JavaScript Map keeps the order in which
 * keys were set, so a flow that is used is set anew and the first key is the oldest.
 */
import type { ServiceSpec } from '../engine.ts'
import { isOwnNamespace } from '../loops.ts'
import type { DialUdp } from './dial.ts'
import type { LocalAddresses } from './local-addresses.ts'
import { type Descriptors, openAll, type Service } from './service.ts'
import { type Flow, openFlow } from './udp-flow.ts'
import { type Hear, openUdpListener } from './udp-listener.ts'
import type { LoopGuard } from './udp-loops.ts'

interface Entry {
  readonly flow: Flow
  readonly timer: NodeJS.Timeout
}

export const openUdpService = async (
  spec: ServiceSpec,
  dial: DialUdp,
  descriptors: Descriptors,
  locals: LocalAddresses,
  loops: LoopGuard,
): Promise<Service> => {
  const { maxConnections, flowTimeout } = spec.limits
  /** In order of last use, oldest first. */
  const flows = new Map<string, Entry>()
  let target = spec.target
  let total = 0
  let bytesIn = 0
  let bytesOut = 0

  /** Two addresses to try are two sockets. */
  const cost = (): number => (target?.alternative === undefined ? 1 : 2)

  const drop = (key: string): void => {
    const entry = flows.get(key)
    if (entry === undefined) return
    flows.delete(key)
    clearTimeout(entry.timer)
    entry.flow.close()
    descriptors.give(cost())
  }
  const dropOldest = (): void => {
    const [oldest] = flows.keys()
    if (oldest !== undefined) drop(oldest)
  }
  const dropAll = (): void => {
    for (const key of [...flows.keys()]) drop(key)
  }
  const touch = (key: string, entry: Entry): void => {
    flows.delete(key)
    flows.set(key, entry)
    entry.timer.refresh()
  }

  const hearOn =
    (targetPort: number): Hear =>
    (message, client, inlet) => {
      if (target === null) return
      const key = `${inlet.id} ${client.port} ${client.address}`
      let entry = flows.get(key)
      if (entry === undefined) {
        const hops = loops.hopsOf(client)
        if (hops === null) return
        if (flows.size >= maxConnections || !descriptors.tryTake(cost())) {
          dropOldest()
          if (!descriptors.tryTake(cost())) return
        }
        const { netns } = target
        const flow = openFlow(
          dial,
          target,
          targetPort,
          // Inside another namespace the same numbers are other sockets.
          socket => (isOwnNamespace(netns) ? loops.connected(socket.address(), hops) : () => undefined),
          answer => {
            const now = flows.get(key)
            if (now?.flow !== flow) return
            touch(key, now)
            bytesOut += answer.length
            inlet.answer(answer, client)
          },
          () => drop(key),
        )
        entry = { flow, timer: setTimeout(drop, flowTimeout, key) }
        flows.set(key, entry)
        total += 1
      } else touch(key, entry)
      bytesIn += message.length
      entry.flow.send(message)
    }

  const listeners = await openAll(spec, descriptors, endpoint =>
    openUdpListener(spec, endpoint, descriptors, locals, loops, hearOn(endpoint.targetPort)),
  )
  return {
    get spec() {
      return { ...spec, target }
    },
    counters: () => ({ active: flows.size, total, bytesIn, bytesOut }),
    retarget: next => {
      dropAll()
      target = next
    },
    close: async () => {
      for (const listener of listeners) listener.close()
      descriptors.give(listeners.length)
      dropAll()
      target = null
    },
  }
}
