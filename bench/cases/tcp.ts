/** What the TCP cases share: who takes part, and the CPU figures taken along with each sample. */
import { type Cpu, withCpu } from '../lab/cpu.ts'
import { run } from '../lab/process.ts'
import { direct } from '../peers/direct.ts'
import { dnat } from '../peers/dnat.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { haproxy } from '../peers/haproxy.ts'
import { iptables } from '../peers/iptables.ts'
import { nginx } from '../peers/nginx.ts'
import { nodePipe } from '../peers/node-pipe.ts'
import type { Peer, Running } from '../peers/peer.ts'
import { portctlKernel, portctlNode, portctlRelay } from '../peers/portctl.ts'
import { socat } from '../peers/socat.ts'
import type { Contestant, Metric } from './case.ts'

export const TCP_PEERS: readonly Peer[] = [
  direct,
  dnat,
  iptables,
  portctlKernel,
  portctlRelay,
  portctlNode,
  dockerProxy,
  haproxy,
  nginx,
  nodePipe,
  socat,
]

/** Without those that this has shown to be far behind in all the others: everything has to fit into a quarter of an hour. */
export const FAST_PEERS = TCP_PEERS.filter(peer => ![portctlNode, nodePipe, socat].includes(peer))

/** Of every running peer, one contestant whose sample is `load`'s, with the CPU it took per unit of work. */
export const loaded = (
  peers: readonly Running[],
  load: (
    peer: Running,
  ) => Promise<{ readonly units: number; readonly values: Readonly<Record<string, number>> }>,
): readonly Contestant[] =>
  peers.map(peer => ({
    series: peer.name,
    measure: async () => {
      await forget(peer)
      const { value, cpu } = await withCpu(await peer.pids(), () => load(peer))
      return { ...value.values, ...cpuPerUnit(cpu, value.units) }
    },
  }))

/** Connections of the last sample that conntrack remembers cost the next one nothing, and fill no table. */
const forget = async ({ world }: Running): Promise<void> => {
  await run(world.host, ['conntrack', '-F']).catch(() => undefined)
}

const cpuPerUnit = (cpu: Cpu, units: number): Record<string, number> => ({
  'cpu-machine': cpu.machine / units,
  'cpu-path': cpu.path / units,
})

export const cpuMetrics = (unit: string): Readonly<Record<string, Metric>> => ({
  'cpu-machine': { title: `CPU, whole machine`, unit: `s/${unit}`, better: 'lower', plot: true },
  'cpu-path': { title: `CPU, proxy processes`, unit: `s/${unit}`, better: 'lower' },
})
