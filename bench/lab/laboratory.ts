/** Starts each peer once, on first use, and keeps it for the whole run: an idle peer sleeps. */
import type { Peer, Running } from '../peers/peer.ts'
import { run } from './process.ts'

export interface Laboratory {
  /** Length of a sample of load. */
  readonly seconds: number
  /** Whether contestants of this name take part in the run. */
  readonly takes: (name: string) => boolean
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
}

export const openLaboratory = ({ say, only, seconds }: LaboratoryOptions): Laboratory => {
  const takes = (name: string): boolean => only.length === 0 || only.includes(name)
  const started = new Map<Peer, Promise<Running | null>>()

  const launch = async (peer: Peer, world?: string): Promise<Running | null> => {
    if (!takes(peer.name)) return null
    for (const [program, debianPackage] of Object.entries(peer.needs)) {
      if (await installed(program)) continue
      say(`  without ${peer.name}: ${program} is missing (apt-get install ${debianPackage})`)
      return null
    }
    return peer.start(world)
  }

  const one = (peer: Peer): Promise<Running | null> => {
    const already = started.get(peer)
    if (already !== undefined) return already
    const promise = launch(peer)
    started.set(peer, promise)
    return promise
  }

  return {
    seconds,
    takes,
    peer: one,
    fresh: launch,
    peers: async peers => {
      const all: Running[] = []
      for (const peer of peers) {
        const running = await one(peer)
        if (running !== null) all.push(running)
      }
      return all
    },
  }
}

export const installed = async (program: string): Promise<boolean> => {
  try {
    await run(null, ['which', program])
    return true
  } catch {
    return false
  }
}
