/**
 * docker-proxy 20.10, one process a port as dockerd starts it, beside the chains that dockerd writes: without the rule for
 * the port itself, or it would get no traffic. fd 3 is where it reports `0` once it listens.
 */
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { start } from '../lab/process.ts'
import { forwarding } from '../lab/world.ts'
import { loadDockerRules } from './iptables.ts'
import { furnished, type Peer, published, SERVICES } from './peer.ts'

export const dockerProxy: Peer = {
  name: 'docker-proxy',
  needs: { 'docker-proxy': 'docker.io', 'iptables-restore': 'iptables' },
  start: async (name = 'docker-proxy') => {
    const world = await furnished(name)
    await forwarding(world)
    await loadDockerRules(world, [])
    const pids: number[] = []
    for (const s of SERVICES) {
      const proxy = start(
        world.host,
        [
          'docker-proxy',
          ...['-proto', s.protocol, '-host-ip', '0.0.0.0', '-host-port', String(s.port)],
          ...['-container-ip', world.target[4], '-container-port', String(s.to)],
        ],
        { extraFds: ['pipe'] },
      )
      const [status] = (await once(proxy.child.stdio[3] as Readable, 'data')) as [Buffer]
      if (status.toString().trim() !== '0') throw new Error(`docker-proxy: ${status.toString()}`)
      pids.push(proxy.pid)
    }
    return { name: dockerProxy.name, world, endpoint: published, pids: async () => pids }
  },
}
