/** Starts each peer once, on first use, and keeps it for the whole run: an idle peer sleeps. */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Peer, Running } from '../peers/peer.ts'
import { type CoreLatency, openCoreLatency } from './core-latency.ts'
import { paths } from './paths.ts'
import { run } from './process.ts'

export interface Laboratory {
  /** Length of a sample of load. */
  readonly seconds: number
  /** Where one case takes many of them. */
  readonly brief: number
  /** Looks how far apart the CPUs are now. */
  readonly coreLatency: CoreLatency
  /** Whether contestants of this name take part in the run. */
  readonly takes: (name: string) => boolean
  /** Every name that was asked about so far. */
  readonly known: () => readonly string[]
  /** Whether the programs are installed that this one needs; a line for the reader when one is not. */
  readonly has: (one: Pick<Peer, 'name' | 'needs'>) => Promise<boolean>
  /** Resolves to null, with a line for the reader, when a program it needs is not installed. */
  readonly peer: (peer: Peer) => Promise<Running | null>
  /** One more of the kind, in a world of its own. */
  readonly fresh: (peer: Peer, world: string) => Promise<Running | null>
  readonly peers: (peers: readonly Peer[]) => Promise<readonly Running[]>
}

export interface LaboratoryOptions {
  readonly say: (line: string) => void
  /** Names of the contestants that take part; empty for all. */
  readonly only: readonly string[]
  readonly seconds: number
  /** Other checkouts, built: among `peers`, portctl of each takes part and nobody else. Cases without `peers` are as ever. */
  readonly against: readonly string[]
}

export const openLaboratory = ({ say, only, seconds, against }: LaboratoryOptions): Laboratory => {
  const known = new Set<string>()
  const takes = (name: string): boolean => {
    known.add(name)
    return only.length === 0 || only.includes(name)
  }
  const started = new Map<string, Promise<Running | null>>()
  /** The peer, if it takes part; where checkouts are compared, portctl's of each. */
  const builds = (peer: Peer): readonly Peer[] => {
    const { from } = peer
    if (!takes(peer.name)) return []
    if (against.length === 0) return [peer]
    if (from === undefined) return []
    return [peer, ...against.map(checkout => from(checkout, basename(checkout)))]
  }

  const has = async ({ name, needs }: Pick<Peer, 'name' | 'needs'>): Promise<boolean> => {
    for (const [program, debianPackage] of Object.entries(needs)) {
      if (await installed(program)) continue
      say(`  without ${name}: ${program} is missing (apt-get install ${debianPackage})`)
      return false
    }
    return true
  }

  const launch = async (peer: Peer, world?: string): Promise<Running | null> =>
    (await has(peer)) ? peer.start(world) : null

  const one = (peer: Peer): Promise<Running | null> => {
    const already = started.get(peer.name)
    if (already !== undefined) return already
    const promise = launch(peer)
    started.set(peer.name, promise)
    return promise
  }

  return {
    seconds,
    brief: seconds / 2,
    coreLatency: openCoreLatency(join(paths.bundles, 'core-latency-worker.cjs')),
    takes,
    has,
    known: () => [...known],
    peer: peer => (takes(peer.name) ? one(peer) : Promise.resolve(null)),
    fresh: (peer, world) => (takes(peer.name) ? launch(peer, world) : Promise.resolve(null)),
    peers: async peers => {
      const all: Running[] = []
      for (const peer of peers.flatMap(builds)) {
        const running = await one(peer)
        if (running !== null) all.push(running)
      }
      return all
    },
  }
}

const installed = async (program: string): Promise<boolean> => {
  if (program.startsWith('/')) return existsSync(program)
  try {
    await run(null, ['which', program])
    return true
  } catch {
    return false
  }
}
