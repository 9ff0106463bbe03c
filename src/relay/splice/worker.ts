/**
 * A data-path thread (dist/relay-worker.cjs): a loop, the protocols on it, and the engine's commands.
 * The thread ends after `stop`; a failure it does not expect ends it with an error, and the relay with it.
 */
import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { asPortctlError, PortctlError } from '../../core/errors.ts'
import { EPOLLET, EPOLLIN, errnoName, loadLibc } from '../../kernel/libc/index.ts'
import type { ServiceSpec } from '../engine.ts'
import type { Answer, Command, WorkerData } from './commands.ts'
import { canBorrow, openProcessTable, takeOwnDescriptors } from './descriptors.ts'
import { createListeners } from './listeners.ts'
import { Kind, Loop } from './loop.ts'
import type { ProtocolHandler, Service } from './services.ts'
import { createTcp } from './tcp.ts'
import { createUdp } from './udp.ts'

const { port, wakeFd, annex, ceiling, ...shared } = workerData as WorkerData

const main = async (): Promise<void> => {
  const libc = await loadLibc()
  const ownTable = (annex || canBorrow(libc, wakeFd)) && takeOwnDescriptors(libc)
  if (annex && !ownTable)
    throw PortctlError.of('syscall-failed', {
      call: 'unshare',
      subject: 'descriptor table',
      errno: errnoName(libc.errno()),
    })
  const processTable = ownTable && !annex ? openProcessTable(libc) : undefined
  const loop = new Loop(libc)
  const services = new Map<number, Service>()
  const listeners = createListeners(libc)
  const listenersOf = (spec: ServiceSpec, made: Int32Array | null): Int32Array => {
    if (made === null) return listeners.open(spec)
    return processTable === undefined ? made : listeners.copy(made, processTable.borrow)
  }
  const answer = (message: Answer): void => port.postMessage(message)
  const context = {
    libc,
    loop,
    counters: new Float64Array(shared.counters),
    active: new Int32Array(shared.active),
    published: new Uint16Array(shared.published),
    passages: new Int32Array(shared.passages),
    udpPassages: shared.udpPassages,
    ceiling,
    full: () => answer({ full: true }),
    log: (line: string) => answer({ log: line }),
  }
  const protocols: Record<'tcp' | 'udp', ProtocolHandler> = {
    tcp: createTcp(context),
    udp: createUdp(context),
  }

  const obey = (command: Command): void => {
    switch (command.do) {
      case 'open':
        for (const { slot, spec, listeners: made } of command.services) {
          const service: Service = {
            slot,
            spec,
            target: spec.target,
            listeners: listenersOf(spec, made),
          }
          services.set(slot, service)
          protocols[spec.protocol].open(service)
        }
        return
      case 'close': {
        const slots = new Set(command.slots)
        protocols.tcp.close(slots)
        protocols.udp.close(slots)
        for (const slot of slots) {
          const service = services.get(slot)
          if (ownTable && service !== undefined) listeners.close(service.listeners)
          services.delete(slot)
        }
        return
      }
      case 'retarget': {
        const service = services.get(command.slot)
        if (service === undefined) return
        service.target = command.target
        protocols[service.spec.protocol].retarget(service)
        return
      }
      case 'look':
        protocols.tcp.look?.()
        return
      case 'stop':
        loop.stop()
        return
      default:
        command satisfies never
    }
  }

  const count = libc.pin(8)
  loop.handle(Kind.wake, {
    ready() {
      libc.read(wakeFd, count.address, 8)
      for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
        try {
          obey(next.message as Command)
          answer({})
        } catch (error) {
          answer({ error: asPortctlError(error).toJSON() })
        }
      }
    },
  })
  loop.add(wakeFd, Kind.wake, EPOLLIN | EPOLLET)
  loop.run()
  protocols.tcp.finish?.()
  protocols.udp.finish?.()
  processTable?.close()
  port.close()
}

void main()
