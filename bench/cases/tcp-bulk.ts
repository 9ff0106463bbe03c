import { iperf3 } from '../loads/iperf3.ts'
import { nodePipe } from '../peers/node-pipe.ts'
import type { Peer } from '../peers/peer.ts'
import { portctlNode } from '../peers/portctl.ts'
import { socat } from '../peers/socat.ts'
import type { Case } from './case.ts'
import { cpuMetrics, loaded, TCP_PEERS } from './tcp.ts'

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

export const tcpBulk1 = bulk('tcp-bulk-1', 1, 'Bulk, one stream', TCP_PEERS)
/** Without those that one stream has shown to be far behind: all of it has to fit into a quarter of an hour. */
const FAST = TCP_PEERS.filter(peer => ![portctlNode, nodePipe, socat].includes(peer))
export const tcpBulk4 = bulk('tcp-bulk-4', 4, 'Bulk, four streams', FAST)
