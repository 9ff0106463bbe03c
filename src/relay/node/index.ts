/**
 * The portable engine: the relay's data path on node:net and node:dgram, for machines on which libc can't be called.
 *
 * It does what the splice engine does, within Node's means, at roughly two thirds of its throughput and one third of
 * its connection rate.
 *
 *   tcp.ts, connection.ts                     listeners; one relayed connection
 *   udp.ts, udp-listener.ts, udp-flow.ts      flow table; sockets clients reach; sockets that speak for a client
 *   dial.ts, agents.ts, agent.ts              connecting, here or inside another network namespace
 *
 * Where it falls short of the splice engine:
 *   - UDP on a wildcard address answers from the address asked only if an interface carries that address
 *     (udp-listener.ts);
 *   - a RST is noticed up to a second late on a connection that waits because of back-pressure or is half-closed
 *     (connection.ts);
 *   - every port is an object: some 3 KB for TCP, 20 KB for UDP on a wildcard address.
 */
import { setImmediate } from 'node:timers/promises'
import { PortctlError } from '../../core/errors.ts'
import type { Engine, ServiceSpec } from '../engine.ts'
import { Agents } from './agents.ts'
import { dialTcp, dialUdp } from './dial.ts'
import { LocalAddresses } from './local-addresses.ts'
import { Descriptors, type Service } from './service.ts'
import { openTcpService } from './tcp.ts'
import { TcpLoopGuard } from './tcp-loops.ts'
import { openUdpService } from './udp.ts'
import { LoopGuard } from './udp-loops.ts'

export interface NodeEngineOptions {
  /** Path of dist/relay.cjs, which is also the agent's program. */
  readonly program: string
}

export const createNodeEngine = ({ program }: NodeEngineOptions): Engine => {
  const services = new Map<string, Service>()
  const agents = new Agents(program)
  const descriptors = new Descriptors()
  const locals = new LocalAddresses()
  const loops = new LoopGuard()
  const tcpLoops = new TcpLoopGuard()
  const tcp = dialTcp(agents)
  const udp = dialUdp(agents)

  const openOne = (spec: ServiceSpec): Promise<Service> =>
    spec.protocol === 'tcp'
      ? openTcpService(spec, tcp, descriptors, tcpLoops)
      : openUdpService(spec, udp, descriptors, locals, loops)

  const close = async (ids: Iterable<string>): Promise<void> => {
    const closing = [...ids].map(id => {
      const service = services.get(id)
      services.delete(id)
      return service?.close()
    })
    await Promise.all(closing)
  }

  return {
    name: 'node',
    open: async specs => {
      const opened: string[] = []
      try {
        for (const spec of specs) {
          if (services.has(spec.id))
            throw PortctlError.of('internal', { what: `service ${spec.id} is open already` })
          services.set(spec.id, await openOne(spec))
          opened.push(spec.id)
        }
      } catch (error) {
        await close(opened)
        throw error
      }
    },
    close,
    retarget: async (id, target) => {
      const service = services.get(id)
      if (service === undefined) throw PortctlError.of('internal', { what: `no service ${id} is open` })
      // A whole turn of the event loop: datagrams that the kernel has taken already belong to the old target.
      await setImmediate()
      await setImmediate()
      service.retarget(target)
    },
    services: async () => [...services.values()].map(service => service.spec),
    counters: async () => new Map([...services].map(([id, service]) => [id, service.counters()])),
    shutdown: async () => {
      await close([...services.keys()])
      agents.close()
    },
  }
}
