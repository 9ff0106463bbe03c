import type { Laboratory } from '../lab/laboratory.ts'
import { agentIn } from '../loads/agent.ts'
import { wrk } from '../loads/wrk.ts'
import { direct } from '../peers/direct.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { nginx } from '../peers/nginx.ts'
import { type Peer, url } from '../peers/peer.ts'
import { portctlKernel, portctlRelay } from '../peers/portctl.ts'
import type { Case } from './case.ts'

const PEERS: readonly Peer[] = [direct, portctlKernel, portctlRelay, dockerProxy, nginx]

/** Half of what docker-proxy can do here and now; found once, the same for all. */
const halfOfPeak = async (laboratory: Laboratory): Promise<number> => {
  const proxy = await laboratory.peer(dockerProxy)
  if (proxy === null) return 20_000
  const { perSecond } = await wrk(proxy.world.client, url(proxy.endpoint('http')), {
    connections: 32,
    seconds: laboratory.seconds,
  })
  return Math.round(perSecond / 2)
}

export const tcpLatency: Case = {
  name: 'tcp-latency',
  words: ['tcp', 'http', 'latency'],
  title: 'Latency at half of docker-proxy’s peak load',
  method:
    'Own client over epoll, 64 connections, at half the rate that wrk found docker-proxy to peak at; latency counts from when a request was due',
  metrics: {
    p50: { title: 'p50', unit: 'ms', better: 'lower' },
    p99: { title: 'p99', unit: 'ms', better: 'lower', plot: true },
  },
  contestants: async laboratory => {
    const peers = await laboratory.peers(PEERS)
    const perSecond = await halfOfPeak(laboratory)
    return peers.map(peer => ({
      series: peer.name,
      measure: async () => {
        const { p50, p99 } = await agentIn(peer.world.client).rate({
          ...peer.endpoint('http'),
          perSecond,
          seconds: laboratory.seconds,
        })
        return { p50, p99 }
      },
    }))
  },
}
