/**
 * Keeps datagrams from circling between sockets of the portable engine, which no hop limit in a packet would stop.
 * Asked once for each new flow.
 *
 * A *source* that is one of our listeners is forged: the answer would become a question to that listener. A source that
 * is a flow's own socket is legitimate (a service that leads to another), so such sockets are remembered with the number
 * of services a datagram from them has passed, and the chain is cut beyond MAX_HOPS.
 */
import { MAX_HOPS } from '../loops.ts'

interface At {
  readonly address: string
  readonly port: number
}

const WILDCARDS = new Set(['0.0.0.0', '::'])
const keyOf = ({ address, port }: At): string =>
  // A wildcard hears every loopback address, also those that no interface carries.
  WILDCARDS.has(address) || address.startsWith('127.') ? `lo ${port}` : `${address} ${port}`

export class LoopGuard {
  readonly #listeners = new Map<string, number>()
  readonly #hops = new Map<string, number>()

  /** A listener's socket is bound. @returns to be called when it is closed */
  listening(at: At): () => void {
    const key = keyOf(at)
    this.#listeners.set(key, (this.#listeners.get(key) ?? 0) + 1)
    return () => {
      const left = (this.#listeners.get(key) ?? 0) - 1
      if (left > 0) this.#listeners.set(key, left)
      else this.#listeners.delete(key)
    }
  }

  /** How many services a datagram from there has passed; null when it must go no further. */
  hopsOf(source: At): number | null {
    if (this.#listeners.has(keyOf(source))) return null
    const hops = this.#hops.get(keyOf(source)) ?? 0
    return hops < MAX_HOPS ? hops : null
  }

  /** A flow's socket is connected, for a client `hops` services away. @returns to be called when it is closed */
  connected(local: At, hops: number): () => void {
    const key = keyOf(local)
    this.#hops.set(key, hops + 1)
    return () => void this.#hops.delete(key)
  }
}
