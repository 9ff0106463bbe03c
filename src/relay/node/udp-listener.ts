/**
 * Where a UDP service of the portable engine hears its clients.
 *
 * An answer must come from the address that the client asked. dgram has no IP_PKTINFO, so a wildcard listener is one
 * socket for every address of the host (a socket bound to one address beats the wildcard) beside the wildcard itself,
 * which reserves the port and hears addresses that are newer than the last look at the host's interfaces. Such
 * sockets share their port by SO_REUSEADDR, under which the kernel would also let a stranger's in: so the port is
 * first bound without it, to find out whether it is free.
 *
 * Limits: answers of the wildcard socket itself (127.0.0.2, an address of the last two seconds, AnyIP routes) leave
 * from the address that routing chooses. `close` is synchronous; nothing is heard afterwards.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import type { ServiceSpec } from '../engine.ts'
import { literal, RECEIVE_BUFFER } from './dial.ts'
import type { LocalAddresses } from './local-addresses.ts'
import { type Descriptors, type Endpoint, listenError } from './service.ts'
import type { LoopGuard } from './udp-loops.ts'

/** A socket that clients reach. */
interface Inlet {
  /** Unique in the process. */
  readonly id: number
  answer(message: Uint8Array, client: RemoteInfo): void
}

export type Hear = (message: Buffer, client: RemoteInfo, inlet: Inlet) => void

/** Bytes waiting in user space beyond which datagrams to a client are dropped. */
export const MAX_QUEUE = 1024 * 1024

let lastId = 0

const bind = (socket: Socket, { address, port }: Pick<Endpoint, 'address' | 'port'>): Promise<void> =>
  new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      socket.close()
      reject(error)
    }
    socket.once('error', failed)
    socket.bind(port, address, () => {
      socket.removeListener('error', failed)
      // Errors of single datagrams: nothing to be done about them.
      socket.on('error', () => undefined)
      resolve()
    })
  })

const create = (address: string, reuseAddr: boolean): Socket =>
  createSocket({
    type: address.includes(':') ? 'udp6' : 'udp4',
    ipv6Only: address.includes(':'),
    reuseAddr,
    lookup: literal,
    recvBufferSize: RECEIVE_BUFFER,
  })

const listenTo = (socket: Socket, hear: Hear): void => {
  let open = true
  const inlet: Inlet = {
    id: ++lastId,
    answer: (message, client) => {
      if (open && socket.getSendQueueSize() < MAX_QUEUE)
        socket.send(message, client.port, client.address, () => undefined)
    },
  }
  socket.once('close', () => {
    open = false
  })
  socket.on('message', (message, client) => hear(message, client, inlet))
}

export interface UdpListener {
  close(): void
}

/** @throws what `Engine.open` does */
export const openUdpListener = async (
  spec: ServiceSpec,
  endpoint: Endpoint,
  descriptors: Descriptors,
  locals: LocalAddresses,
  loops: LoopGuard,
  hear: Hear,
): Promise<UdpListener> => {
  const { address, port } = endpoint
  const sockets = new Map<string, Socket>()
  const adding = new Set<string>()
  let closed = false

  const add = async (at: string, shared: boolean): Promise<Socket> => {
    const socket = create(at, shared)
    await bind(socket, { address: at, port })
    if (closed) socket.close()
    else {
      sockets.set(at, socket)
      socket.once('close', loops.listening({ address: at, port }))
      listenTo(socket, hear)
    }
    return socket
  }
  /** An address that can't be bound yet (IPv6 still probes for duplicates) is tried again at the next look. */
  const addLocal = async (at: string): Promise<void> => {
    if (sockets.has(at) || adding.has(at) || !descriptors.tryTake(1)) return
    adding.add(at)
    try {
      const socket = await add(at, true)
      socket.once('close', () => descriptors.give(1))
    } catch {
      descriptors.give(1)
    } finally {
      adding.delete(at)
    }
  }
  const follow = async (addresses: readonly string[]): Promise<void> => {
    for (const [at, socket] of sockets) {
      if (at === address || addresses.includes(at)) continue
      sockets.delete(at)
      socket.close()
    }
    await Promise.all(addresses.map(addLocal))
  }

  const wildcard = address === '0.0.0.0' || address === '::'
  try {
    if (wildcard) {
      const probe = create(address, false)
      await bind(probe, endpoint)
      probe.close()
    }
    await add(address, wildcard)
  } catch (error) {
    throw listenError(error as Error, spec, endpoint)
  }
  const unfollow = wildcard ? await locals.follow(address === '::' ? 6 : 4, follow) : () => undefined
  return {
    close: () => {
      closed = true
      unfollow()
      for (const socket of sockets.values()) socket.close()
      sockets.clear()
    },
  }
}
