import { wrk } from '../loads/wrk.ts'
import { direct } from '../peers/direct.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { nginx } from '../peers/nginx.ts'
import { PUBLISHED } from '../peers/peer.ts'
import { portctlKernel, portctlRelay } from '../peers/portctl.ts'
import type { Case } from './case.ts'
import { cpuMetrics, loaded } from './tcp.ts'

export const tcpLoopback: Case = {
  name: 'tcp-loopback',
  words: ['tcp', 'http'],
  title: 'Keep-alive requests from the host itself to 127.0.0.1:8080',
  method: `wrk -t 2 -c 32 http://127.0.0.1:${PUBLISHED.http}/ in the host namespace; "portctl kernel" is its default path, docker has none but its proxy; "direct" is the container's own address, and what no way can pass`,
  metrics: {
    'requests-per-second': { title: 'Requests a second', unit: 'req/s', better: 'higher', plot: true },
    ...cpuMetrics('1,000 requests'),
  },
  contestants: async laboratory =>
    loaded(await laboratory.peers([direct, portctlKernel, portctlRelay, dockerProxy, nginx]), async peer => {
      const { host, port } =
        peer.name === direct.name ? peer.endpoint('http') : { host: '127.0.0.1', port: PUBLISHED.http }
      const result = await wrk(peer.world.host, `http://${host}:${port}/`, {
        connections: 32,
        seconds: laboratory.brief,
      })
      return { units: result.requests / 1000, values: { 'requests-per-second': result.perSecond } }
    }),
}
