import { autocannon } from '../loads/autocannon.ts'
import { direct } from '../peers/direct.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { url } from '../peers/peer.ts'
import { portctlKernel, portctlRelay } from '../peers/portctl.ts'
import type { Case } from './case.ts'
import { loaded } from './tcp.ts'

export const tcpAutocannon: Case = {
  name: 'tcp-autocannon',
  words: ['tcp', 'http'],
  title: 'Keep-alive requests as a Node client sees them, 32 connections',
  method:
    'autocannon -c 32; the client, one Node process that warms up meanwhile, is the bottleneck of the faster paths',
  metrics: {
    'requests-per-second': { title: 'Requests a second', unit: 'req/s', better: 'higher', plot: true },
  },
  contestants: async laboratory =>
    loaded(await laboratory.peers([direct, portctlKernel, portctlRelay, dockerProxy]), async peer => {
      const options = { connections: 32, seconds: laboratory.seconds }
      const result = await autocannon(peer.world.client, url(peer.endpoint('http')), options)
      return { units: result.requests / 1000, values: { 'requests-per-second': result.perSecond } }
    }),
}
