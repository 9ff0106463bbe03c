/**
 * The agent: a process inside another network namespace that makes sockets there for the portable engine.
 *
 * Node cannot call setns(2), so nsenter(1) starts this program in the namespace. It connects (TCP) or binds (UDP) and
 * passes the socket itself back over the IPC channel (SCM_RIGHTS): a socket belongs to the namespace in which it was
 * made, wherever it is used. So the data never passes through the agent, FIN and RST are the kernel's own, and
 * connections live on when the agent ends. It ends when its channel closes.
 */
import type { SendHandle } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'

export type AgentRequest =
  | { readonly id: number; readonly kind: 'tcp'; readonly address: string; readonly port: number }
  | { readonly id: number; readonly kind: 'udp'; readonly family: 4 | 6 }
  | { readonly id: number; readonly kind: 'cancel' }

/** Comes with the socket, or with the errno name of the failure. */
export interface AgentResponse {
  readonly id: number
  readonly error?: string
}

export const runAgent = (): void => {
  const connecting = new Map<number, Socket>()
  const respond = (
    response: AgentResponse,
    handle?: SendHandle,
    sent: () => void = () => undefined,
  ): void => {
    // It fails when the engine went away in the meantime; 'disconnect' then ends this process.
    process.send?.(response, handle, {}, sent)
  }

  const connectTcp = (id: number, address: string, port: number): void => {
    const socket = connect({ host: address, port, noDelay: true, keepAlive: true, allowHalfOpen: true })
    connecting.set(id, socket)
    // Paused, so that no byte is read here before the socket is handed over.
    socket.pause()
    socket.once('connect', () => {
      connecting.delete(id)
      respond({ id }, socket)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (connecting.delete(id)) respond({ id, error: error.code ?? error.message })
    })
  }

  const bindUdp = (id: number, family: 4 | 6): void => {
    const socket = createSocket(`udp${family}`)
    socket.on('error', (error: NodeJS.ErrnoException) => respond({ id, error: error.code ?? error.message }))
    socket.bind(0, () => respond({ id }, socket, () => socket.close()))
  }

  process.on('message', (request: AgentRequest) => {
    switch (request.kind) {
      case 'tcp':
        connectTcp(request.id, request.address, request.port)
        break
      case 'udp':
        bindUdp(request.id, request.family)
        break
      case 'cancel':
        connecting.get(request.id)?.destroy()
        connecting.delete(request.id)
        break
      default:
        request satisfies never
    }
  })
  process.on('disconnect', () => process.exit(0))
}
