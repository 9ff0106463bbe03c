import { wrk } from '../loads/wrk.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { url } from '../peers/peer.ts'
import { portctlKernel, portctlRelay } from '../peers/portctl.ts'
import type { Case, Contestant } from './case.ts'

const COUNTS = [1, 32, 1024]
/** Against the descriptor limit of 20,000: docker-proxy takes six for a connection. */
const MANY = 8192

/** Seconds that wrk, which counts from its first connection, is given to open one. */
const OPENING = 0.0003

export const curveConnections: Case = {
  name: 'curve-connections',
  words: ['curve', 'tcp'],
  title: 'Keep-alive requests over 1 to 8,192 connections',
  method: 'wrk -t 2 -c N',
  axis: 'connections',
  metrics: {
    'requests-per-second': { title: 'Requests a second', unit: 'req/s', better: 'higher', plot: true },
  },
  contestants: async laboratory => {
    const peers = await laboratory.peers([portctlKernel, portctlRelay, dockerProxy])
    return peers.flatMap(peer =>
      (peer.name === dockerProxy.name ? COUNTS : [...COUNTS, MANY]).map(
        (x): Contestant => ({
          series: peer.name,
          x,
          measure: async () => {
            // Thousands of connections take wrk a while to open.
            const options = { connections: x, seconds: laboratory.brief + OPENING * x }
            const { perSecond } = await wrk(peer.world.client, url(peer.endpoint('http')), options)
            return { 'requests-per-second': perSecond }
          },
        }),
      ),
    )
  },
}
