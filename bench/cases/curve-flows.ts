import { memory } from '../lab/cpu.ts'
import { flood } from '../loads/udp.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { portctlKernel, portctlRelay } from '../peers/portctl.ts'
import type { Case, Contestant } from './case.ts'

/** Each flow is a socket of the sender, which has 20,000 descriptors where nobody raised the limit. */
const COUNTS = [1, 100, 1000, 10_000]

export const curveFlows: Case = {
  name: 'curve-flows',
  words: ['curve', 'udp'],
  title: 'UDP, 1 to 10,000 flows',
  method: 'Own sender, 200 B, round robin over N sockets at 40,000 packets/s; counted where they arrive',
  rounds: 2,
  axis: 'flows',
  metrics: {
    delivered: { title: 'Delivered', unit: 'packets/s', better: 'higher', plot: true },
    loss: { title: 'Lost', unit: '%', better: 'lower' },
    memory: { title: 'Memory of the proxy', unit: 'MB', better: 'lower', plot: true },
  },
  contestants: async laboratory => {
    const peers = await laboratory.peers([portctlKernel, portctlRelay, dockerProxy])
    return peers.flatMap(peer =>
      COUNTS.map(
        (x): Contestant => ({
          series: peer.name,
          x,
          measure: async () => {
            const load = { size: 200, flows: x, rate: 40_000, seconds: laboratory.seconds }
            const { sent, arrived, perSecond } = await flood(peer, load)
            const bytes = memory(await peer.pids(), 'Pss')
            return { delivered: perSecond, loss: (1 - arrived / sent) * 100, memory: bytes / 1e6 }
          },
        }),
      ),
    )
  },
}
