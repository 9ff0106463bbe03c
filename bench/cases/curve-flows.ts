import { memory } from '../lab/cpu.ts'
import { flood } from '../loads/udp.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import type { Running } from '../peers/peer.ts'
import { portctlKernel, portctlRelay } from '../peers/portctl.ts'
import type { Case, Contestant } from './case.ts'

const COUNTS = [1, 1000, 10_000]
/** docker-proxy delivers a fifth of 10,000 already. */
const MANY = 50_000

/** The kernel's path is the same at every size. */
const countsOf = ({ name }: Running): readonly number[] => {
  if (name === portctlKernel.name) return [1, MANY]
  return name === dockerProxy.name ? COUNTS : [...COUNTS, MANY]
}

export const curveFlows: Case = {
  name: 'curve-flows',
  words: ['curve', 'udp'],
  title: 'UDP, 1 to 50,000 flows',
  method:
    'Own sender, 200 B, round robin over N sockets at 40,000 packets/s, from several processes where one has not the descriptors; counted where they arrive. Under a limit of 20,000 open files the relay holds 19,900 flows: with 50,000 in turn, each datagram makes a flow and ends the oldest',
  grows: true,
  axis: 'flows',
  metrics: {
    delivered: { title: 'Delivered', unit: 'packets/s', better: 'higher', plot: true },
    loss: { title: 'Lost', unit: '%', better: 'lower' },
    memory: { title: 'Memory of the proxy', unit: 'MB', better: 'lower', plot: true },
  },
  contestants: async laboratory => {
    const peers = await laboratory.peers([portctlKernel, portctlRelay, dockerProxy])
    return peers.flatMap(peer =>
      countsOf(peer).map(
        (x): Contestant => ({
          series: peer.name,
          x,
          measure: async () => {
            // So that flows have a second datagram, some of them where there are most.
            const seconds = laboratory.brief + (x >= MANY ? 1 : x >= 10_000 ? 0.5 : 0)
            const load = { size: 200, flows: x, rate: 40_000, seconds }
            const { sent, arrived, perSecond } = await flood(peer, load)
            const bytes = memory(await (peer.carriers ?? peer.pids)())
            return { delivered: perSecond, loss: (1 - arrived / sent) * 100, memory: bytes / 1e6 }
          },
        }),
      ),
    )
  },
}
