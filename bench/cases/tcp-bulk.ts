import { iperf3 } from '../loads/iperf3.ts'
import type { Case } from './case.ts'
import { cpuMetrics, loaded, TCP_PEERS } from './tcp.ts'

const bulk = (name: string, streams: number, title: string): Case => ({
  name,
  words: ['tcp', 'bulk'],
  title,
  method: `iperf3 -P ${streams}, client to container, bytes as the receiver counted them`,
  metrics: {
    throughput: { title: 'Throughput', unit: 'Gbit/s', better: 'higher', plot: true },
    ...cpuMetrics('GB'),
  },
  contestants: async laboratory =>
    loaded(await laboratory.peers(TCP_PEERS), async peer => {
      const result = await iperf3(peer.world.client, peer.endpoint('bulk'), {
        streams,
        seconds: laboratory.seconds,
      })
      return { units: result.bytes / 1e9, values: { throughput: result.gigabitsPerSecond } }
    }),
})

export const tcpBulk1 = bulk('tcp-bulk-1', 1, 'Bulk, one stream')
export const tcpBulk4 = bulk('tcp-bulk-4', 4, 'Bulk, four streams')
