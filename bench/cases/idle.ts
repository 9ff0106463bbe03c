/** What an idle connection costs, and what it costs the others. Peers are fresh: memory once taken is rarely given back. */
import { availableParallelism } from 'node:os'
import { BACKEND } from '../lab/backend.ts'
import { familyOf } from '../lab/cpu.ts'
import { watchGrowth } from '../lab/growth.ts'
import type { Laboratory } from '../lab/laboratory.ts'
import { run } from '../lab/process.ts'
import { leaveWorld } from '../lab/world.ts'
import { agentIn } from '../loads/agent.ts'
import { type Crowd, crowdIn, processesFor } from '../loads/crowd.ts'
import { dockerProxy } from '../peers/docker-proxy.ts'
import { nginx } from '../peers/nginx.ts'
import { type Peer, published, type Running } from '../peers/peer.ts'
import { portctlRelay, portctlWorkers, worldName } from '../peers/portctl.ts'
import type { Case, Contestant } from './case.ts'

const MOST = 20_000
/** nginx's memory is in a straight line: as many as tell its slope. */
const MOST_OF_NGINX = 2000
/** Of the latency beside them. */
const CROWD = 10_000
/** Descriptors of a process that are not for connections. */
const OTHERS = 500
/** Data-path threads of the relay when it is not told. */
const DEFAULT_THREADS = Math.min(4, availableParallelism())

export interface Crowded {
  readonly peer: Running
  readonly crowd: Crowd
  /** As many connections as the descriptor limit allows. */
  readonly most: number
}

interface Kind {
  readonly peer: Peer
  readonly most: number
}

/**
 * Peers that can hold many connections. The limit of open files bounds a process, of portctl a data-path thread: where it is
 * low, the relay gets as many threads as the connections take. nginx has two processes. docker-proxy has one, and keeps a pipe
 * for each direction (Go's io.Copy): six descriptors a connection.
 */
const kinds = async (wanted: number): Promise<readonly Kind[]> => {
  const limit = Number(await run(null, ['bash', '-c', 'ulimit -Hn']))
  const room = limit - OTHERS
  const threads = Math.ceil((2 * wanted) / room)
  const peers: readonly (readonly [Peer, number])[] = [
    [threads > DEFAULT_THREADS ? portctlWorkers(threads) : portctlRelay, wanted],
    [dockerProxy, Math.floor(room / 6)],
    [nginx, Math.floor(room / 2)],
  ]
  return peers.map(([peer, most]) => ({ peer, most: Math.min(wanted, most) }))
}

/** Connections that come and go first: what is made lazily, compiled code above all, belongs to no connection in particular. */
const WARM = 2000

/** A fresh one, that holds no connection. */
const openToCrowd = async (
  laboratory: Laboratory,
  { peer, most }: Kind,
  suffix: string,
): Promise<Crowded | null> => {
  const running = await laboratory.fresh(peer, `${worldName(peer.name)}-${suffix}`)
  if (running === null) return null
  const { client, container } = running.world
  await agentIn(container).echo({ port: BACKEND.echo, processes: processesFor(most) })
  await agentIn(client).firstByte({ ...published('echo'), count: WARM })
  return { peer: running, crowd: crowdIn(client, published('echo')), most }
}

export const crowdable = async (
  laboratory: Laboratory,
  suffix: string,
  wanted = MOST,
): Promise<readonly Crowded[]> => {
  const all: Crowded[] = []
  for (const kind of await kinds(wanted)) {
    const one = await openToCrowd(laboratory, kind, suffix)
    if (one !== null) all.push(one)
  }
  return all
}

export const idleMemory: Case = {
  name: 'idle-memory',
  words: ['idle', 'memory'],
  title: 'Memory of an idle connection',
  method:
    'Growth of the anonymous memory of the processes that connections go through, over connections that passed one byte each way and then stay idle, mapping by mapping (what was given back elsewhere is not set off), divided by their number. Before, 2,000 others came and went. Under a limit of 20,000 open files a data-path thread of the relay holds 9,950 connections, so it has three',
  metrics: {
    bytes: { title: 'Userland memory a connection', unit: 'B', better: 'lower', plot: true },
    count: { title: 'Connections held', unit: '', better: 'higher' },
  },
  contestants: async laboratory => {
    const all: Contestant[] = []
    for (const kind of (await kinds(MOST)).filter(({ peer }) => peer !== dockerProxy))
      if (laboratory.takes(kind.peer.name) && (await laboratory.has(kind.peer)))
        all.push(memoryOf(laboratory, kind.peer === nginx ? { peer: nginx, most: MOST_OF_NGINX } : kind))
    return all
  },
}

/** A fresh peer each time: what a process has taken once it rarely gives back. */
const memoryOf = (laboratory: Laboratory, kind: Kind): Contestant => {
  let times = 0
  return {
    series: kind.peer.name,
    measure: async () => {
      const one = await openToCrowd(laboratory, kind, `idle-${times++}`)
      if (one === null) throw new Error(`${kind.peer.name} is gone`)
      const { peer, crowd, most } = one
      const growth = watchGrowth(familyOf(await (peer.carriers ?? peer.pids)()))
      await crowd.size(most)
      const bytes = growth() / most
      await leaveWorld(peer.world)
      return { bytes, count: most }
    },
  }
}

export const idleLatency: Case = {
  name: 'idle-latency',
  words: ['idle', 'latency'],
  title: 'Connect to first byte beside idle connections',
  method:
    '500 connections, one after another, to an echo server through the proxy; "crowded" holds 10,000 idle connections all the while (nginx 9,750, docker-proxy 3,250 under a limit of 20,000 open files)',
  metrics: {
    p50: { title: 'p50', unit: 'ms', better: 'lower', plot: true },
    p99: { title: 'p99', unit: 'ms', better: 'lower' },
  },
  contestants: async laboratory => {
    const quiet = await laboratory.peers([portctlRelay, dockerProxy, nginx])
    for (const { world } of quiet) await agentIn(world.container).echo({ port: BACKEND.echo })
    const crowded = await crowdable(laboratory, 'crowded', CROWD)
    for (const { crowd, most } of crowded) await crowd.size(most)
    return [
      ...quiet.map(peer => firstByte(peer, peer.name)),
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
