/** How the portable engine reaches a target: from here, or through the agent of the target's namespace. */
import { createSocket, type RemoteInfo, type SocketOptions, type Socket as UdpSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import { isRunning, type ProcessRef } from '../../core/process-identity.ts'
import type { RelayTarget } from '../engine.ts'
import { isOwnNamespace } from '../loops.ts'
import type { Agents, Cancel, Dialled } from './agents.ts'

/** Reports once, with a connected socket that nothing was read from; not at all after it was cancelled. */
export type DialTcp = (
  target: RelayTarget,
  port: number,
  /** Milliseconds for everything: the start of an agent, the alternative address. */
  timeout: number,
  report: (outcome: Dialled<Socket>) => void,
  /** connect(2) was called in this network: the socket has its address, and nobody can have accepted it yet. */
  connecting: (socket: Socket) => void,
) => Cancel

const connectHere = (
  host: string,
  port: number,
  report: (outcome: Dialled<Socket>) => void,
  connecting: (socket: Socket) => void,
): Cancel => {
  const socket = connect({ host, port, noDelay: true, keepAlive: true, allowHalfOpen: true })
  const failed = (error: NodeJS.ErrnoException): void => report({ errno: error.code ?? error.message })
  socket.pause()
  // For a literal, Node calls connect(2) in the tick it has queued just now; events of other sockets come after all ticks.
  process.nextTick(connecting, socket)
  socket.once('error', failed)
  socket.once('connect', () => {
    socket.removeListener('error', failed)
    report({ made: socket })
  })
  return () => {
    socket.removeAllListeners('connect').removeListener('error', failed)
    socket.on('error', () => undefined)
    socket.destroy()
  }
}

/** Of a process that has ended, the agents say that. */
const isHere = (netns: string, process: ProcessRef | undefined): boolean =>
  isOwnNamespace(netns) && (process === undefined || isRunning(process))

export const dialTcp =
  (agents: Agents): DialTcp =>
  (target, port, timeout, report, connecting) => {
    const { netns, process } = target
    let cancel: Cancel = () => undefined
    const timer = setTimeout(() => {
      cancel()
      report({ errno: 'ETIMEDOUT' })
    }, timeout)
    const attempt = (address: string, alternative: string | undefined): void => {
      const tried = (outcome: Dialled<Socket>): void => {
        if ('errno' in outcome && outcome.errno === 'ECONNREFUSED' && alternative !== undefined) {
          attempt(alternative, undefined)
          return
        }
        clearTimeout(timer)
        // Sockets that an agent passed come without it.
        if ('made' in outcome) outcome.made.allowHalfOpen = true
        report(outcome)
      }
      cancel =
        netns === undefined || isHere(netns, process)
          ? connectHere(address, port, tried, connecting)
          : agents.connect({ netns, process }, address, port, tried)
    }
    attempt(target.address, target.alternative)
    return () => {
      clearTimeout(timer)
      cancel()
    }
  }

/** Sends to, and hears from, one backend address. */
export interface Peer {
  readonly socket: UdpSocket
  /** Whether a datagram from there is the backend's. */
  hears(from: RemoteInfo): boolean
  send(message: Uint8Array, done: (error: Error | null) => void): void
}

export type DialUdp = (
  target: RelayTarget,
  address: string,
  port: number,
  report: (outcome: Dialled<Peer>) => void,
) => Cancel

/** Addresses are literals: dgram's own way through getaddrinfo costs a turn of the event loop for each datagram. */
export const literal: NonNullable<SocketOptions['lookup']> = (host, _options, done) =>
  done(null, host, host.includes(':') ? 6 : 4)

/** Bytes asked of the kernel for datagrams that arrive faster than they are read; net.core.rmem_max caps it. */
export const RECEIVE_BUFFER = 1024 * 1024

export const dialUdp =
  (agents: Agents): DialUdp =>
  (target, address, port, report) => {
    const family = address.includes(':') ? 6 : 4
    const attach = (socket: UdpSocket): Cancel => {
      const failed = (error: NodeJS.ErrnoException): void => {
        socket.close()
        report({ errno: error.code ?? error.message })
      }
      socket.once('error', failed)
      socket.once('connect', () => {
        socket.removeListener('error', failed)
        report({ made: { socket, hears: () => true, send: (message, done) => socket.send(message, done) } })
      })
      socket.connect(port, address)
      return () => {
        socket.removeListener('error', failed)
        socket.on('error', () => undefined)
        socket.close()
      }
    }
    const { netns, process } = target
    if (netns === undefined)
      return attach(createSocket({ type: `udp${family}`, lookup: literal, recvBufferSize: RECEIVE_BUFFER }))
    let cancel = agents.bind({ netns, process }, family, outcome => {
      if ('errno' in outcome) report(outcome)
      else if (family === 4) cancel = attach(outcome.made)
      else report({ made: unconnected(outcome.made, address, port) })
    })
    return () => cancel()
  }

/**
 * A socket that was passed here and is IPv6 cannot be connected (dgram leaves the passed handle without the IPv6 form
 * of connect). So it gets no ICMP errors, and strangers' datagrams are kept off
 * it here.
 */
const unconnected = (socket: UdpSocket, address: string, port: number): Peer => ({
  socket,
  hears: from => from.address === address && from.port === port,
  send: (message, done) => socket.send(message, port, address, done),
})
