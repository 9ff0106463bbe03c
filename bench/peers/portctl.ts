/** portctl itself, once over each of its paths. */
import { startBackend } from '../lab/backend.ts'
import { runContainer, startInstance } from '../lab/portctl.ts'
import { outside } from '../lab/world.ts'
import { type Peer, published, SERVICES } from './peer.ts'

const peer = (name: string, via: 'auto' | 'relay'): Peer => ({
  name,
  needs: { nft: 'nftables' },
  protocols: ['tcp', 'udp'],
  start: async (world = `portctl-${via}`) => {
    const ends = await outside(world)
    const instance = await startInstance(ends.host, world)
    const { netns, target } = await runContainer(instance)
    await startBackend(netns)
    const specs = SERVICES.map(s => `${s.port}:${s.to}/${s.protocol}`)
    await instance.portctl('publish', '--via', via, ...specs)
    return {
      name,
      world: { name: world, ...ends, container: netns, target },
      endpoint: published,
      pids: instance.pids,
    }
  },
})

/** The path a user gets: DNAT for this traffic. */
export const portctlKernel = peer('portctl kernel', 'auto')
export const portctlRelay = peer('portctl relay', 'relay')
