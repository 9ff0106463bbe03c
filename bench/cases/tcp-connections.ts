import { wrk } from '../loads/wrk.ts'
import { url } from '../peers/peer.ts'
import type { Case } from './case.ts'
import { cpuMetrics, FAST_PEERS, loaded } from './tcp.ts'

export const tcpConnections: Case = {
  name: 'tcp-connections',
  words: ['tcp', 'http'],
  title: 'New connections, one request each',
  method:
    "wrk -t 2 -c 64 -H 'Connection: close'; 64,512 client ports, TIME_WAIT reusable after 1 s, conntrack flushed before each sample",
  metrics: {
    'connections-per-second': { title: 'Connections a second', unit: 'conn/s', better: 'higher', plot: true },
    errors: { title: 'Errors', unit: '', better: 'lower' },
    ...cpuMetrics('1,000 connections'),
  },
  contestants: async laboratory =>
    loaded(await laboratory.peers(FAST_PEERS), async peer => {
      const options = { connections: 64, seconds: laboratory.seconds, close: true }
      const result = await wrk(peer.world.client, url(peer.endpoint('http')), options)
      return {
        units: result.requests / 1000,
        values: { 'connections-per-second': result.perSecond, errors: result.errors },
      }
    }),
}
