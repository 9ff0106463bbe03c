import { wrk } from '../loads/wrk.ts'
import { url } from '../peers/peer.ts'
import type { Case } from './case.ts'
import { cpuMetrics, loaded, TCP_PEERS } from './tcp.ts'

export const tcpKeepalive: Case = {
  name: 'tcp-keepalive',
  words: ['tcp', 'http'],
  title: 'Keep-alive requests, 32 connections',
  method: 'wrk -t 2 -c 32 from the client namespace; nginx in the container answers 12 bytes',
  metrics: {
    'requests-per-second': { title: 'Requests a second', unit: 'req/s', better: 'higher', plot: true },
    ...cpuMetrics('1,000 requests'),
  },
  contestants: async laboratory =>
    loaded(await laboratory.peers(TCP_PEERS), async peer => {
      const result = await wrk(peer.world.client, url(peer.endpoint('http')), {
        connections: 32,
        seconds: laboratory.seconds,
      })
      return {
        units: result.requests / 1000,
        values: { 'requests-per-second': result.perSecond },
      }
    }),
}
