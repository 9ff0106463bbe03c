/**
 * What a data-path thread knows about the services it carries, and the counters all threads share.
 *
 * The engine's main thread gives each service a *slot*, a small number that indexes the counters. Counters are
 * Float64 in shared memory, one set a thread, written by that thread alone and read by the main thread at any
 * time; they are exact up to 2^53. `active` is one number for all threads, because the connection limit is.
 */
import type { Libc } from '../../kernel/libc/index.ts'
import type { RelayTarget, ServiceSpec } from '../engine.ts'
import type { Loop } from './loop.ts'

/** Services at once; the shared memory is reserved for so many, but only touched where used. */
export const MAX_SERVICES = 131_072

export const Counter = { total: 0, bytesIn: 1, bytesOut: 2 } as const
export const COUNTERS = 3

export interface SharedCounters {
  /** `MAX_SERVICES × COUNTERS` Float64 of one thread. */
  readonly counters: SharedArrayBuffer
  /** `MAX_SERVICES` Int32: connections or flows at once, all threads together; Atomics only. */
  readonly active: SharedArrayBuffer
  /** Uint16 by port: how many TCP services listen on it. Written by the main thread. */
  readonly published: SharedArrayBuffer
  /** Connections on their way through this host (tcp-loops.ts). */
  readonly passages: SharedArrayBuffer
  /** Datagrams on their way through this host (udp-loops.ts). */
  readonly udpPassages: SharedArrayBuffer
}

/** A service as a thread sees it. */
export interface Service {
  readonly slot: number
  readonly spec: ServiceSpec
  /** Where new connections go; changed by a retarget. */
  target: RelayTarget | null
  /** Bound, listening descriptors: address `a`, port `first + i` at `a × ports + i`. Not the protocol's to close. */
  readonly listeners: Int32Array
}

/** What a protocol works with. */
export interface Context {
  readonly libc: Libc
  readonly loop: Loop
  /** This thread's counters: `slot × COUNTERS + Counter.…`. */
  readonly counters: Float64Array
  /** All threads' connections or flows, by slot: Atomics only. */
  readonly active: Int32Array
  /** TCP services by port. */
  readonly published: Uint16Array
  /** See tcp-loops.ts: Atomics only. */
  readonly passages: Int32Array
  /** See udp-loops.ts. */
  readonly udpPassages: SharedArrayBuffer
  /** Descriptors from this number on are not for the data path (descriptors.ts). */
  readonly ceiling: number
  /** Says that this thread accepts nothing for now. */
  readonly full: () => void
  readonly log: (line: string) => void
}

/** What a protocol does for the thread. Its descriptors' events come through the loop's handlers. */
export interface ProtocolHandler {
  open(service: Service): void
  /** Drops everything that belongs to the slots: forgets listeners, closes the rest. */
  close(slots: ReadonlySet<number>): void
  /** Another thread has become full: what it leaves pending is for this one. */
  look?(): void
  /** `service.target` has changed. */
  retarget(service: Service): void
  /** The thread ends, every service is closed: frees descriptors that belong to none. */
  finish?(): void
}

/** Port that listener `index` of a service listens on. */
export const listeningPort = ({ ports }: ServiceSpec, index: number): number =>
  ports.first + (index % (ports.last - ports.first + 1))

/** Port the connection or flow of listener `index` goes to. */
export const targetPort = (spec: ServiceSpec, index: number): number => {
  const { first, last } = spec.targetPorts
  return first === last ? first : first + (index % (spec.ports.last - spec.ports.first + 1))
}
