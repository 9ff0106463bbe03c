/** portctl itself, over each of its paths and with each of its engines. */
import { startBackend } from '../lab/backend.ts'
import { paths } from '../lab/paths.ts'
import { runContainer, startInstance } from '../lab/portctl.ts'
import { outside } from '../lab/world.ts'
import { type Peer, published, SERVICES } from './peer.ts'

export const worldName = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')

const peer = (
  name: string,
  via: 'auto' | 'relay',
  flags: readonly string[] = [],
  checkout: string = paths.root,
): Peer => ({
  name,
  needs: { nft: 'nftables' },
  from: (other, label) => peer(`${name}, ${label}`, via, flags, other),
  start: async (world = worldName(name)) => {
    const ends = await outside(world)
    const instance = await startInstance(ends.host, world, flags, checkout)
    const { netns, target } = await runContainer(instance)
    await startBackend(netns)
    const specs = SERVICES.map(s => `${s.port}:${s.to}/${s.protocol}`)
    await instance.portctl('publish', '--via', via, ...specs)
    return {
      name,
      world: { name: world, ...ends, container: netns, target },
      endpoint: published,
      pids: instance.pids,
      carriers: instance.relayPids,
    }
  },
})

/** The path a user gets: DNAT for this traffic. */
export const portctlKernel = peer('portctl kernel', 'auto')
export const portctlRelay = peer('portctl relay', 'relay')
/** Where libc cannot be called. */
export const portctlNode = peer('portctl relay, node engine', 'relay', ['--engine=node'])
/** With so many data-path threads rather than the default. */
export const portctlWorkers = (workers: number): Peer =>
  peer('portctl relay', 'relay', [`--workers=${workers}`])
