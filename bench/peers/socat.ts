/** socat, one forked process a connection. */
import { listening, start, until } from '../lab/process.ts'
import { furnished, type Peer, PUBLISHED, published, SERVICES } from './peer.ts'

export const socat: Peer = {
  name: 'socat',
  needs: { socat: 'socat' },
  start: async (name = 'socat') => {
    const world = await furnished(name)
    const proxies = SERVICES.filter(s => s.protocol === 'tcp').map(s =>
      start(world.host, [
        'socat',
        `TCP4-LISTEN:${s.port},fork,reuseaddr,backlog=4096`,
        `TCP4:${world.target[4]}:${s.to}`,
      ]),
    )
    await until('socat', () => listening(world.host, PUBLISHED.http))
    return { name: socat.name, world, endpoint: published, pids: async () => proxies.map(p => p.pid) }
  },
}
