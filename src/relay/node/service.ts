/** What the TCP and the UDP side of the portable engine have in common: the shape of a service, and how sockets are opened. */
import { readFileSync } from 'node:fs'
import { PortctlError } from '../../core/errors.ts'
import type { RelayTarget, ServiceCounters, ServiceSpec } from '../engine.ts'

export interface Service {
  readonly spec: ServiceSpec
  counters(): ServiceCounters
  retarget(target: RelayTarget | null): void
  /** Resolves when no socket of the service is left. */
  close(): Promise<void>
}

/** A listening address and port; `index` counts from the first port of the service. */
export interface Endpoint {
  readonly address: string
  readonly port: number
  readonly targetPort: number
}

const endpointsOf = ({ addresses, ports, targetPorts }: ServiceSpec): readonly Endpoint[] => {
  const step = targetPorts.first === targetPorts.last ? 0 : 1
  return addresses.flatMap(address =>
    Array.from({ length: ports.last - ports.first + 1 }, (_, i) => ({
      address,
      port: ports.first + i,
      targetPort: targetPorts.first + i * step,
    })),
  )
}

/** Sockets being opened at once. */
const BATCH = 64

/**
 * Opens one listener for each address and port, or none: on the first failure what was opened is closed again. Takes
 * one descriptor for each; who closes the listeners gives them back.
 */
export const openAll = async <T extends { close(): unknown }>(
  spec: ServiceSpec,
  descriptors: Descriptors,
  open: (endpoint: Endpoint) => Promise<T>,
): Promise<readonly T[]> => {
  const endpoints = endpointsOf(spec)
  descriptors.take(endpoints.length)
  const opened: T[] = []
  for (let start = 0; start < endpoints.length; start += BATCH) {
    const results = await Promise.allSettled(endpoints.slice(start, start + BATCH).map(open))
    for (const result of results) if (result.status === 'fulfilled') opened.push(result.value)
    const failure = results.find(result => result.status === 'rejected')
    if (failure !== undefined) {
      await Promise.all(opened.map(listener => listener.close()))
      descriptors.give(endpoints.length)
      throw failure.reason
    }
  }
  return opened
}

/** What bind(2) and listen(2) say, in our words. */
export const listenError = (error: Error, spec: ServiceSpec, { address, port }: Endpoint): PortctlError => {
  const errno = (error as NodeJS.ErrnoException).code ?? error.message
  const at = { address, port, protocol: spec.protocol }
  const because = { cause: error }
  switch (errno) {
    case 'EADDRINUSE':
      return PortctlError.of('port-taken', at, because)
    case 'EACCES':
    case 'EPERM':
      return PortctlError.of('port-denied', at, because)
    case 'EADDRNOTAVAIL':
      return PortctlError.of('address-unavailable', at, because)
    default: {
      const subject = `${address} port ${port}/${spec.protocol}`
      return PortctlError.of('syscall-failed', { call: 'bind', subject, errno }, because)
    }
  }
}

/** Left for the channel, the log, agents, and what Node opens for itself. */
const RESERVE = 64

/**
 * The process's file descriptors, counted so that the last ones are never given to clients: a relay without a free
 * descriptor could not even be told to close a service.
 */
export class Descriptors {
  readonly limit: number
  #free: number

  constructor() {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    this.limit = Number(soft ?? 1024)
    this.#free = this.limit - RESERVE
  }

  tryTake(count: number): boolean {
    if (this.#free < count) return false
    this.#free -= count
    return true
  }

  /** @throws `fd-limit` */
  take(count: number): void {
    if (!this.tryTake(count)) throw PortctlError.of('fd-limit', { needed: count, limit: this.limit })
  }

  give(count: number): void {
    this.#free += count
  }
}
