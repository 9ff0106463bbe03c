/**
 * TCP services of the portable engine: one net.Server for each address and port.
 *
 * Node accepts whatever arrives, so a connection beyond `maxConnections` is held here, unread, as it would be in the
 * kernel's backlog, and takes the place of the next one that ends; beyond BACKLOG it is reset.
 */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { ServiceSpec } from '../engine.ts'
import { type Connection, relayConnection, reset } from './connection.ts'
import type { DialTcp } from './dial.ts'
import { type Descriptors, type Endpoint, listenError, openAll, type Service } from './service.ts'
import type { TcpLoopGuard } from './tcp-loops.ts'

const BACKLOG = 4096

/** Milliseconds between two probes of connections that Node does not watch (connection.ts). */
const PROBE_EVERY = 1_000

/** A client's socket and the backend's. */
const DESCRIPTORS = 2

interface Waiting {
  readonly client: Socket
  readonly targetPort: number
}

export const openTcpService = async (
  spec: ServiceSpec,
  dial: DialTcp,
  descriptors: Descriptors,
  loops: TcpLoopGuard,
): Promise<Service> => {
  const { maxConnections, connectTimeout, idleTimeout } = spec.limits
  const live = new Set<Connection>()
  const waiting = new Set<Waiting>()
  let prober: NodeJS.Timeout | undefined
  let target = spec.target
  let total = 0
  let bytesIn = 0
  let bytesOut = 0

  const probe = (): void => {
    for (const connection of live) connection.probe()
  }

  const relay = (client: Socket, targetPort: number): void => {
    const hops = loops.hopsOf(client)
    if (target === null || hops === null) {
      turnAway(client)
      return
    }
    const to = target
    total += 1
    const connection = relayConnection(
      client,
      report =>
        dial(to, targetPort, connectTimeout, report, socket => loops.connecting(socket, targetPort, hops)),
      idleTimeout,
      () => {
        live.delete(connection)
        if (live.size === 0) clearInterval(prober)
        bytesIn += connection.bytesIn
        bytesOut += connection.bytesOut
        descriptors.give(DESCRIPTORS)
        admit()
      },
    )
    if (live.size === 0) prober = setInterval(probe, PROBE_EVERY)
    live.add(connection)
  }

  const admit = (): void => {
    for (const next of waiting) {
      if (live.size >= maxConnections) return
      waiting.delete(next)
      relay(next.client, next.targetPort)
    }
  }

  const turnAway = (client: Socket): void => {
    reset(client)
    descriptors.give(DESCRIPTORS)
  }

  const accept = (client: Socket, targetPort: number): void => {
    client.on('error', () => undefined)
    if (!descriptors.tryTake(DESCRIPTORS)) reset(client)
    else if (live.size < maxConnections) relay(client, targetPort)
    else if (waiting.size < BACKLOG) waiting.add({ client, targetPort })
    else turnAway(client)
  }

  const listen = (endpoint: Endpoint): Promise<Server> =>
    new Promise((resolve, reject) => {
      const options = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true }
      const server = createServer(options, client => accept(client, endpoint.targetPort))
      server.once('error', error => reject(listenError(error, spec, endpoint)))
      server.listen({ host: endpoint.address, port: endpoint.port, ipv6Only: true, backlog: BACKLOG }, () => {
        // accept(2) that fails later costs one client, not the relay.
        server.on('error', () => undefined)
        resolve(server)
      })
    })

  const servers = await openAll(spec, descriptors, listen)

  return {
    get spec() {
      return { ...spec, target }
    },
    counters: () => {
      const sum = { active: live.size, total, bytesIn, bytesOut }
      for (const connection of live) {
        sum.bytesIn += connection.bytesIn
        sum.bytesOut += connection.bytesOut
      }
      return sum
    },
    retarget: next => {
      target = next
    },
    close: async () => {
      target = null
      for (const { client } of waiting) turnAway(client)
      waiting.clear()
      for (const connection of live) connection.cut()
      await Promise.all(
        servers.map(async server => {
          const closed = once(server, 'close')
          server.close()
          await closed
        }),
      )
      descriptors.give(servers.length)
    },
  }
}
