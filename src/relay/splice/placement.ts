/**
 * Which thread's descriptor table holds a service's listeners (descriptors.ts): the process's as long as there is
 * room; else annexes, a run of ports each with all the service's addresses, so that one thread has one part of a service.
 */
import { PortctlError } from '../../core/errors.ts'
import type { ServiceSpec } from '../engine.ts'
import { socketsOf } from './listeners.ts'

/** A service of which some threads hold nothing, some all and some a part. */
export interface Placement {
  readonly spec: ServiceSpec
  /** The process's table. */
  readonly here: boolean
  /** By number of the annex, from 0; may name annexes that do not exist yet. */
  readonly parts: readonly { readonly annex: number; readonly spec: ServiceSpec }[]
}

/** Descriptors that are free for listeners: in the process's table, in each annex there is, in one to be made. */
export interface Room {
  readonly here: number
  readonly annexes: readonly number[]
  readonly newAnnex: number
  /** Of open files, for the error. */
  readonly limit: number
}

/** A thread each, of some 10 MB: enough for every port of both families, TCP and UDP, under a limit of 20,000 files. */
const MOST_ANNEXES = 20

/** @throws `fd-limit` */
export const placeServices = (specs: readonly ServiceSpec[], room: Room): readonly Placement[] => {
  let here = room.here
  const annexes = [...room.annexes]
  return specs.map(spec => {
    const sockets = socketsOf(spec)
    if (sockets <= here) {
      here -= sockets
      return { spec, here: true, parts: [] }
    }
    const parts: { annex: number; spec: ServiceSpec }[] = []
    const addresses = spec.addresses.length
    let first = spec.ports.first
    for (let annex = 0; first <= spec.ports.last; annex++) {
      if (annex === MOST_ANNEXES) throw PortctlError.of('fd-limit', { needed: sockets, limit: room.limit })
      const free = annexes[annex] ?? room.newAnnex
      const ports = Math.min(Math.floor(free / addresses), spec.ports.last - first + 1)
      if (ports > 0) parts.push({ annex, spec: portion(spec, first, first + ports - 1) })
      annexes[annex] = free - ports * addresses
      first += ports
    }
    return { spec, here: false, parts }
  })
}

/** The service with a part of its ports. */
const portion = (spec: ServiceSpec, first: number, last: number): ServiceSpec => {
  const { ports, targetPorts } = spec
  const shift = targetPorts.first - ports.first
  return {
    ...spec,
    ports: { first, last },
    targetPorts:
      targetPorts.first === targetPorts.last ? targetPorts : { first: first + shift, last: last + shift },
  }
}
