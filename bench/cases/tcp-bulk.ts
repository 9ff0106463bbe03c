import { iperf3 } from '../loads/iperf3.ts'
import { dnat } from '../peers/dnat.ts'
import { iptables } from '../peers/iptables.ts'
import { nginx } from '../peers/nginx.ts'
import type { Peer } from '../peers/peer.ts'
import type { Case } from './case.ts'
import { cpuMetrics, FAST_PEERS, loaded } from './tcp.ts'

const bulk = (name: string, streams: number, title: string, peers: readonly Peer[]): Case => ({
  name,
  words: ['tcp', 'bulk'],
  title,
  method: `iperf3 -P ${streams}, client to container, bytes as the receiver counted them`,
  metrics: {
    throughput: { title: 'Throughput', unit: 'Gbit/s', better: 'higher', plot: true },
    ...cpuMetrics('GB'),
  },
  contestants: async laboratory =>
    loaded(await laboratory.peers(peers), async peer => {
      const result = await iperf3(peer.world.client, peer.endpoint('bulk'), {
        streams,
        seconds: laboratory.seconds,
      })
      return { units: result.bytes / 1e9, values: { throughput: result.gigabitsPerSecond } }
    }),
})

export const tcpBulk1 = bulk('tcp-bulk-1', 1, 'Bulk, one stream', FAST_PEERS)
/** Without those that one stream has shown to be like another, or far behind. */
const DIFFERENT = FAST_PEERS.filter(peer => ![dnat, iptables, nginx].includes(peer))
export const tcpBulk4 = bulk('tcp-bulk-4', 4, 'Bulk, four streams', DIFFERENT)
