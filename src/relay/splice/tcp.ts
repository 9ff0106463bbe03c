/**
 * TCP of a data-path thread: a client is accepted (tcp-accept.ts), a backend socket is opened for it
 * (tcp-connect.ts), bytes move both ways (tcp-pump.ts), and the two are closed together.
 *
 * Life of a connection: accepted → connecting → relaying → each direction ends by itself (FIN in, FIN out, the
 * other one stays open) → both closed. Anything abnormal on either side (RST, a failed or timed-out connect, the idle
 * limit, the service being closed) closes both with RST, so that neither end mistakes it for an orderly end.
 *
 * Until the backend is connected the client is not read: its bytes wait in the kernel.
 */
import {
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  SO_OOBINLINE,
  SOL_SOCKET,
  socketOptions,
} from '../../kernel/libc/index.ts'
import { ALL_EDGES, Kind } from './loop.ts'
import { PipePool } from './pipes.ts'
import type { Context, ProtocolHandler, Service } from './services.ts'
import { listeningPort, targetPort } from './services.ts'
import { createAcceptor } from './tcp-accept.ts'
import { createConnector, type Route } from './tcp-connect.ts'
import { createLoopGuard } from './tcp-loops.ts'
import { createPump } from './tcp-pump.ts'
import { Flag, NONE, TcpTable } from './tcp-table.ts'

interface TcpService {
  readonly service: Service
  /** Where new connections go; undefined when the ports are only reserved. */
  route: Route | undefined
}

export const createTcp = (context: Context): ProtocolHandler => {
  const { libc, loop, active } = context
  const options = socketOptions(libc)
  const table = new TcpTable(loop)
  const pipes = new PipePool(libc, context.ceiling)
  const services: (TcpService | undefined)[] = []
  const connector = createConnector(context)
  const loops = createLoopGuard(context)

  const has = (fd: number, bits: number): boolean => ((table.flags[fd] as number) & bits) !== 0
  const serviceOf = (fd: number): TcpService => services[table.slot[fd] as number] as TcpService

  /** Closes a connection given either end. */
  const end = (fd: number, reset: boolean): void => {
    const peer = table.peer[fd] as number
    const slot = table.slot[fd] as number
    closeOne(fd, reset)
    if (peer !== NONE) closeOne(peer, reset)
    Atomics.sub(active, slot, 1)
    acceptor.freed(slot)
  }

  const closeOne = (fd: number, reset: boolean): void => {
    pump.release(fd)
    table.peer[fd] = NONE
    if (reset) options.resetOnClose(fd)
    loop.close(fd)
    loops.closed(fd)
  }

  const pump = createPump(context, table, pipes, {
    finished: fd => end(fd, false),
    broken: fd => end(fd, true),
  })

  const accepted = (client: number, slot: number, index: number): void => {
    loop.reserve(client)
    table.reset(client, Flag.client | Flag.writable, slot, index, loop.now)
    const { route } = serviceOf(client)
    if (route === undefined || !loop.add(client, Kind.tcp, ALL_EDGES)) end(client, true)
    else connect(client, route, false)
  }

  /** Opens the backend side; tries the second address at once when the first fails on the spot. */
  const connect = (client: number, route: Route, second: boolean): void => {
    const { service } = serviceOf(client)
    const index = table.index[client] as number
    const address = second && route.second !== undefined ? route.second : route.first
    const port = targetPort(service.spec, index)
    const open = (): number => connector.connect(route, address, port)
    let backend: number
    if (loops.mayReturn(route, port)) {
      const hops = loops.hopsOf(client, listeningPort(service.spec, index))
      if (hops < 0) {
        end(client, true)
        return
      }
      backend = acceptor.withSpare(() => loops.marked(open, port, hops))
    } else backend = acceptor.withSpare(open)
    if (backend < 0) {
      unreachable(client, route, second)
      return
    }
    loop.reserve(backend)
    table.reset(backend, Flag.connecting, service.slot, index, loop.now)
    table.peer[backend] = client
    table.peer[client] = backend
    if (second) table.flags[client] = (table.flags[client] as number) | Flag.retried
    if (!loop.add(backend, Kind.tcp, ALL_EDGES)) end(client, true)
    else loop.wheel.set(backend, loop.now, service.spec.limits.connectTimeout)
  }

  const unreachable = (client: number, route: Route | undefined, retried: boolean): void => {
    if (retried || route?.second === undefined) end(client, true)
    else connect(client, route, true)
  }

  const connectFailed = (backend: number): void => {
    const client = table.peer[backend] as number
    const retried = has(client, Flag.retried)
    closeOne(backend, false)
    table.peer[client] = NONE
    unreachable(client, serviceOf(client).route, retried)
  }

  const connected = (backend: number): void => {
    const client = table.peer[backend] as number
    table.flags[backend] = ((table.flags[backend] as number) & ~Flag.connecting) | Flag.writable
    loop.wheel.clear(backend)
    const { idleTimeout } = serviceOf(backend).service.spec.limits
    if (idleTimeout > 0) loop.wheel.set(client, loop.now, idleTimeout)
    pump.run(client)
  }

  loop.handle(Kind.tcp, {
    ready(fd, events) {
      if (has(fd, Flag.connecting)) {
        if ((events & (EPOLLERR | EPOLLHUP)) !== 0) {
          connectFailed(fd)
          return
        }
        if ((events & EPOLLOUT) === 0) return
        connected(fd)
        if (table.peer[fd] === NONE) return
      }
      const peer = table.peer[fd] as number
      let news = 0
      if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) news |= Flag.readable
      if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) news |= Flag.exact
      if ((events & EPOLLOUT) !== 0) news |= Flag.writable
      if ((events & EPOLLPRI) !== 0) {
        news |= Flag.exact | Flag.urgent
        options.setInt(fd, SOL_SOCKET, SO_OOBINLINE, 1)
      }
      table.flags[fd] = (table.flags[fd] as number) | news
      if ((news & Flag.readable) !== 0) {
        pump.run(fd)
        if (table.peer[fd] !== peer) return
        // What was queued before the RST has been passed on as far as the peer takes it.
        if ((events & EPOLLERR) !== 0) {
          end(fd, true)
          return
        }
      }
      if ((news & Flag.writable) !== 0 && peer !== NONE) pump.run(peer)
    },
    again: fd => pump.run(fd),
    expired(fd) {
      if (has(fd, Flag.connecting)) {
        end(fd, true)
        return
      }
      const { idleTimeout } = serviceOf(fd).service.spec.limits
      const moved = Math.max(table.moved[fd] as number, table.moved[table.peer[fd] as number] as number)
      if (loop.now - moved >= idleTimeout) end(fd, true)
      else loop.wheel.set(fd, moved, idleTimeout)
    },
  })

  const acceptor = createAcceptor(context, table, slot => services[slot]?.service, accepted)

  const routeOf = ({ target }: Service): Route | undefined =>
    target === null ? undefined : connector.routeTo(target)

  return {
    open(service) {
      services[service.slot] = { service, route: routeOf(service) }
      acceptor.listen(service)
    },
    close(slots) {
      for (const slot of slots) {
        const service = services[slot]?.service
        if (service === undefined) continue
        acceptor.drop(service)
      }
      loop.forEach(Kind.tcp, fd => {
        if (slots.has(table.slot[fd] as number)) end(fd, true)
      })
      for (const slot of slots) delete services[slot]
    },
    retarget(service) {
      const known = services[service.slot]
      if (known !== undefined) known.route = routeOf(service)
    },
    look: acceptor.look,
    finish() {
      acceptor.finish()
      pipes.drain()
    },
  }
}
