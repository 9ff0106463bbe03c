/** Rules as dockerd 20.10 writes them: one DNAT, one masquerade and one accept a port, in chains walked from the top. */
import { run } from '../lab/process.ts'
import { forwarding, type World } from '../lab/world.ts'
import { furnished, type Peer, published, SERVICES } from './peer.ts'

interface Rule {
  readonly protocol: string
  readonly port: number
  readonly to: number
}

/** iptables-restore input for a bridge br0; docker appends, so the last publication is matched last. */
const dockerRules = (container: string, rules: readonly Rule[]): string =>
  [
    '*nat',
    ':DOCKER - [0:0]',
    '-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER',
    '-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER',
    '-A POSTROUTING -s 172.30.0.0/16 ! -o br0 -j MASQUERADE',
    ...rules.map(
      r =>
        `-A POSTROUTING -s ${container}/32 -d ${container}/32 -p ${r.protocol} --dport ${r.to} -j MASQUERADE`,
    ),
    '-A DOCKER -i br0 -j RETURN',
    ...rules.map(
      r =>
        `-A DOCKER ! -i br0 -p ${r.protocol} --dport ${r.port} -j DNAT --to-destination ${container}:${r.to}`,
    ),
    'COMMIT',
    '*filter',
    ':FORWARD DROP [0:0]',
    ':DOCKER - [0:0]',
    '-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    '-A FORWARD -o br0 -j DOCKER',
    '-A FORWARD -i br0 ! -o br0 -j ACCEPT',
    ...rules.map(
      r => `-A DOCKER -d ${container}/32 ! -i br0 -o br0 -p ${r.protocol} --dport ${r.to} -j ACCEPT`,
    ),
    'COMMIT',
    '',
  ].join('\n')

export const loadDockerRules = (world: World, rules: readonly Rule[]): Promise<string> =>
  run(world.host, ['iptables-restore'], { input: dockerRules(world.target[4], rules) })

export const iptables: Peer = {
  name: 'docker iptables',
  needs: { 'iptables-restore': 'iptables' },
  start: async (name = 'iptables') => {
    const world = await furnished(name)
    await forwarding(world)
    await loadDockerRules(world, SERVICES)
    return { name: iptables.name, world, endpoint: published, pids: async () => [] }
  },
}
