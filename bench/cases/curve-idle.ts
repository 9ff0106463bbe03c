import { memory } from '../lab/cpu.ts'
import { wrk } from '../loads/wrk.ts'
import { url } from '../peers/peer.ts'
import type { Case, Contestant } from './case.ts'
import { crowdable } from './idle.ts'

const COUNTS = [1, 1000, 5000, 20_000]

export const curveIdle: Case = {
  name: 'curve-idle',
  words: ['curve', 'idle', 'tcp'],
  title: 'Keep-alive requests beside 1 to 20,000 idle connections',
  method:
    'wrk -t 2 -c 32 while so many other connections are open through the proxy and silent; as many as the descriptor limit lets a peer hold. Memory is that of the processes that they go through',
  grows: true,
  axis: 'idle connections',
  metrics: {
    'requests-per-second': { title: 'Requests a second', unit: 'req/s', better: 'higher', plot: true },
    memory: { title: 'Memory of the proxy', unit: 'MB', better: 'lower', plot: true },
  },
  contestants: async laboratory => {
    const peers = await crowdable(laboratory, 'curve')
    return COUNTS.flatMap(x =>
      peers
        .filter(({ most }) => x <= most)
        .map(
          ({ peer, crowd }): Contestant => ({
            series: peer.name,
            x,
            measure: async () => {
              await crowd.size(x)
              const options = { connections: 32, seconds: laboratory.brief }
              const { perSecond } = await wrk(peer.world.client, url(peer.endpoint('http')), options)
              const bytes = memory(await (peer.carriers ?? peer.pids)())
              return { 'requests-per-second': perSecond, memory: bytes / 1e6 }
            },
          }),
        ),
    )
  },
}
