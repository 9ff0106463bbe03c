/**
 * One UDP flow of the portable engine: a client as one inlet sees it, and the backend sockets that speak for it.
 *
 * Life cycle: made by the client's first datagram; datagrams wait in a small queue until the backend's socket is
 * there (at once, or when the agent of a namespace has made it); ends by `close`.
 *
 * Choice of address: the target's first address; when it refuses (ICMP port unreachable) and the target has an
 * alternative, the refused datagram is sent there. The one that answers is kept until it refuses. A backend that
 * comes up later is reached by the next datagram, since a refusal closes nothing.
 */
import type { Socket } from 'node:dgram'
import type { RelayTarget } from '../engine.ts'
import type { Cancel } from './agents.ts'
import type { DialUdp, Peer } from './dial.ts'
import { MAX_QUEUE } from './udp-listener.ts'

/** Datagrams that wait for the backend's socket. */
const MAX_WAITING = 16

export interface Flow {
  send(message: Buffer): void
  close(): void
}

interface Leg {
  send(message: Buffer): void
  close(): void
}

/** Told of each socket of the flow; what it returns is called when the socket is closed. */
export type Connected = (socket: Socket) => () => void

type Refused = (message: Buffer | undefined) => void

const openLeg = (
  dial: (report: Parameters<DialUdp>[3]) => Cancel,
  connected: Connected,
  hear: (message: Buffer) => void,
  refused: Refused,
  failed: () => void,
): Leg => {
  let peer: Peer | undefined
  let waiting: Buffer[] = []
  let closed = false
  /** The datagram that an ICMP error is about, as far as one can know. */
  let last: Buffer | undefined

  const transmit = (to: Peer, message: Buffer, again: boolean): void => {
    if (closed || to.socket.getSendQueueSize() > MAX_QUEUE) return
    last = message
    // The error of an earlier datagram is reported for this one, which was not sent (udp(7)).
    to.send(message, error => {
      if ((error as NodeJS.ErrnoException | null)?.code !== 'ECONNREFUSED') return
      if (again) transmit(to, message, false)
      else refused(message)
    })
  }
  const cancel = dial(outcome => {
    if ('errno' in outcome) {
      closed = true
      failed()
      return
    }
    const made = outcome.made
    peer = made
    made.socket.once('close', connected(made.socket))
    made.socket.on('message', (message, from) => {
      if (made.hears(from)) hear(message)
    })
    made.socket.on('error', error => {
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') refused(last)
    })
    for (const message of waiting) transmit(made, message, true)
    waiting = []
  })
  return {
    send: message => {
      if (peer !== undefined) transmit(peer, message, true)
      else if (waiting.length < MAX_WAITING) waiting.push(message)
    },
    close: () => {
      if (closed) return
      closed = true
      if (peer === undefined) cancel()
      else peer.socket.close()
    },
  }
}

/** `failed`: the flow can't be served and is to be closed. */
export const openFlow = (
  dial: DialUdp,
  target: RelayTarget,
  port: number,
  connected: Connected,
  hear: (message: Buffer) => void,
  failed: () => void,
): Flow => {
  let preferred: Leg | undefined
  let second: Leg | undefined

  const leg = (address: string, refused: Refused, gone: () => void): Leg => {
    const self = openLeg(
      report => dial(target, address, port, report),
      connected,
      message => {
        preferred = self
        hear(message)
      },
      message => {
        if (preferred === self) preferred = undefined
        refused(message)
      },
      gone,
    )
    return self
  }
  const { alternative } = target
  const tryAlternative: Refused = message => {
    if (alternative === undefined || message === undefined) return
    second ??= leg(
      alternative,
      () => undefined,
      () => {
        second = undefined
      },
    )
    second.send(message)
  }
  const first = leg(target.address, tryAlternative, failed)
  return {
    send: message => (preferred ?? first).send(message),
    close: () => {
      first.close()
      second?.close()
    },
  }
}
