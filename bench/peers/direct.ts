/** No proxy and no translation: the client routes to the container's own address. What every path is measured against. */
import { BACKEND } from '../lab/backend.ts'
import { forwarding } from '../lab/world.ts'
import { furnished, type Peer } from './peer.ts'

export const direct: Peer = {
  name: 'direct',
  needs: {},
  start: async (name = 'direct') => {
    const world = await furnished(name)
    await forwarding(world)
    return {
      name: direct.name,
      world,
      endpoint: (service, family = 4) => ({ host: world.target[family], port: BACKEND[service] }),
      pids: async () => [],
    }
  },
}
