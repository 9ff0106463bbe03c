/**
 * Keeps a TCP connection from circling through services of the portable engine until no descriptor is left. A client
 * whose end is that of an outgoing connection of ours has passed services already; beyond MAX_HOPS it goes no further.
 */
import type { Socket } from 'node:net'
import { MAX_HOPS } from '../loops.ts'

/** What the two ends of a connection over this host agree on, and no other connection there is. */
const keyOf = (address: string, port: number, listener: number): string => `${address} ${port} ${listener}`

export class TcpLoopGuard {
  readonly #hops = new Map<string, number>()

  /** Services that the client has passed; null when it must go no further, or is gone and can't be told apart. */
  hopsOf({ remoteAddress, remotePort, localPort }: Socket): number | null {
    if (remoteAddress === undefined || remotePort === undefined || localPort === undefined) return null
    const hops = this.#hops.get(keyOf(remoteAddress, remotePort, localPort)) ?? 0
    return hops < MAX_HOPS ? hops : null
  }

  /** connect(2) was called to `port` for a client `hops` services away. Forgotten when the socket closes. */
  connecting(socket: Socket, port: number, hops: number): void {
    const { localAddress, localPort } = socket
    if (socket.destroyed || localAddress === undefined || localPort === undefined) return
    const key = keyOf(localAddress, localPort, port)
    this.#hops.set(key, hops + 1)
    socket.once('close', () => this.#hops.delete(key))
  }
}
