/** The least nftables can do: one DNAT rule a port, no guards, no counters, no hairpin. */
import { run } from '../lab/process.ts'
import { forwarding } from '../lab/world.ts'
import { furnished, type Peer, published, SERVICES } from './peer.ts'

export const dnat: Peer = {
  name: 'nftables DNAT',
  needs: { nft: 'nftables' },
  start: async (name = 'dnat') => {
    const world = await furnished(name)
    await forwarding(world)
    const rules = SERVICES.map(s => `${s.protocol} dport ${s.port} dnat to ${world.target[4]}:${s.to}`)
    const table = `table ip nat { chain pre { type nat hook prerouting priority -100; ${rules.join('; ')}\n}\n}\n`
    await run(world.host, ['nft', '-f', '-'], { input: table })
    return { name: dnat.name, world, endpoint: published, pids: async () => [] }
  },
}
