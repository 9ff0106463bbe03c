import { withCpu } from '../lab/cpu.ts'
import type { Laboratory } from '../lab/laboratory.ts'
import { type Flood, flood, roundTrip } from '../loads/udp.ts'
import { direct } from '../peers/direct.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { nginx } from '../peers/nginx.ts'
import type { Running } from '../peers/peer.ts'
import { portctlKernel, portctlRelay } from '../peers/portctl.ts'
import type { Case } from './case.ts'

const peers = (laboratory: Laboratory): Promise<readonly Running[]> =>
  laboratory.peers([direct, portctlKernel, portctlRelay, dockerProxy, nginx])

const flooded = (name: string, title: string, load: Omit<Flood, 'seconds'>): Case => ({
  name,
  words: ['udp'],
  title,
  method: `Own sender (sendmmsg, ${load.flows} flow${load.flows > 1 ? 's' : ''}, ${load.size} B) as fast as it can; counted where they arrive`,
  metrics: {
    delivered: { title: 'Delivered', unit: 'packets/s', better: 'higher', plot: true },
    loss: { title: 'Lost under this flood', unit: '%', better: 'lower' },
    'cpu-path': { title: 'CPU, proxy processes', unit: 's/million delivered', better: 'lower' },
  },
  contestants: async laboratory =>
    (await peers(laboratory)).map(peer => ({
      series: peer.name,
      measure: async () => {
        const { value, cpu } = await withCpu(await peer.pids(), () =>
          flood(peer, { ...load, seconds: laboratory.brief }),
        )
        return {
          delivered: value.perSecond,
          loss: (1 - value.arrived / value.sent) * 100,
          'cpu-path': cpu.path / (value.arrived / 1e6),
        }
      },
    })),
})

export const udpSmall = flooded('udp-64', 'UDP, datagrams of 64 bytes', {
  size: 64,
  flows: 1,
})
export const udpLarge = flooded('udp-1400', 'UDP, datagrams of 1,400 bytes', {
  size: 1400,
  flows: 1,
})
export const udpMix = flooded('udp-flows', 'UDP, 64 flows of 1,200 bytes, as QUIC clients send', {
  size: 1200,
  flows: 64,
})

export const udpRoundTrip: Case = {
  name: 'udp-rtt',
  words: ['udp', 'latency'],
  title: 'UDP round trip',
  method: '5,000 datagrams of 64 bytes, one in flight, echoed in the container',
  metrics: {
    p50: { title: 'p50', unit: 'ms', better: 'lower', plot: true },
    p99: { title: 'p99', unit: 'ms', better: 'lower' },
    lost: { title: 'Lost', unit: '', better: 'lower' },
  },
  contestants: async laboratory =>
    (await peers(laboratory)).map(peer => ({
      series: peer.name,
      measure: async () => ({ ...(await roundTrip(peer, 5000)) }),
    })),
}
