/** What an idle connection costs, and what it costs the others. Peers are fresh: memory once taken is rarely given back. */
import { BACKEND } from '../lab/backend.ts'
import { memory } from '../lab/cpu.ts'
import type { Laboratory } from '../lab/laboratory.ts'
import { run } from '../lab/process.ts'
import { agentIn } from '../loads/agent.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { nginx } from '../peers/nginx.ts'
import { type Peer, published, type Running } from '../peers/peer.ts'
import { portctlRelay } from '../peers/portctl.ts'
import type { Case, Contestant } from './case.ts'

/** Descriptors that an idle connection takes: docker-proxy keeps a pipe for each direction (Go's io.Copy). */
const PEERS: ReadonlyMap<Peer, number> = new Map([
  [portctlRelay, 2],
  [dockerProxy, 6],
  [nginx, 2],
])

interface Idle {
  readonly peer: Running
  /** As many as the descriptor limit allows, some left for the rest. */
  readonly count: number
}

const fresh = async (laboratory: Laboratory, suffix: string): Promise<readonly Idle[]> => {
  const limit = Number(await run(null, ['bash', '-c', 'ulimit -Hn']))
  const all: Idle[] = []
  for (const [peer, descriptors] of PEERS) {
    const running = await laboratory.fresh(peer, `${peer.name.replaceAll(' ', '-')}-${suffix}`)
    if (running === null) continue
    await agentIn(running.world.container).echo({ port: BACKEND.echo })
    all.push({ peer: running, count: Math.min(20_000, Math.floor((limit - 1000) / descriptors)) })
  }
  return all
}

export const idleMemory: Case = {
  name: 'idle-memory',
  words: ['idle', 'memory'],
  title: 'Memory of an idle connection',
  method:
    'Growth of the anonymous memory of the proxy’s processes over connections that passed one byte each way and then stay idle, divided by their number: 20,000, or as many as the descriptor limit allows',
  metrics: {
    bytes: { title: 'Userland memory a connection', unit: 'B', better: 'lower', plot: true },
    count: { title: 'Connections held', unit: '', better: 'higher' },
  },
  contestants: async laboratory => {
    return (await fresh(laboratory, 'idle')).map(
      ({ peer, count }): Contestant => ({
        series: peer.name,
        once: true,
        measure: async () => {
          const client = agentIn(peer.world.client)
          const pids = await peer.pids()
          // Lazily made structures belong to no connection in particular.
          await client.firstByte({ ...published('echo'), count: 100 })
          const before = memory(pids, 'Anonymous')
          await client.hold({ ...published('echo'), count })
          const bytes = (memory(pids, 'Anonymous') - before) / count
          await client.release({})
          return { bytes, count }
        },
      }),
    )
  },
}

export const idleLatency: Case = {
  name: 'idle-latency',
  words: ['idle', 'latency'],
  title: 'Connect to first byte beside idle connections',
  method:
    '500 connections, one after another, to an echo server through the proxy; "crowded" holds 9,500 idle connections all the while (docker-proxy 3,166: it takes six descriptors for each; 20,000 where the limit allows)',
  metrics: {
    p50: { title: 'p50', unit: 'ms', better: 'lower', plot: true },
    p99: { title: 'p99', unit: 'ms', better: 'lower' },
  },
  contestants: async laboratory => {
    const quiet = await fresh(laboratory, 'quiet')
    const crowded = await fresh(laboratory, 'crowded')
    for (const { peer, count } of crowded)
      await agentIn(peer.world.client).hold({ ...published('echo'), count })
    return [
      ...quiet.map(({ peer }) => firstByte(peer, peer.name)),
      ...crowded.map(({ peer }) => firstByte(peer, `${peer.name}, crowded`)),
    ]
  },
}

const firstByte = (peer: Running, series: string): Contestant => ({
  series,
  measure: async () => ({
    ...(await agentIn(peer.world.client).firstByte({ ...published('echo'), count: 500 })),
  }),
})
