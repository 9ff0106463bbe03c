/**
 * The seam between the relay process and its two engines (`splice`: libc over FFI in worker threads; `node`:
 * node:net and dgram). Both pass test/relay/conformance.ts.
 *
 * A *service* is what the relay does for one publication: listening sockets on every (address, port) pair and a
 * route to the target. Port `first + i` leads to target port `targetFirst + i`; when the target has a single
 * port (`targetFirst === targetLast`), every listening port leads to it.
 *
 * Invariants: `open` is all or nothing (on failure no socket of the service is left); after `close` resolves no
 * socket of the service exists, live connections included; counters only grow while a service is open, and a
 * retarget keeps them.
 */
import type { PortRange } from '../core/address.ts'
import type { ProcessRef } from '../core/process-identity.ts'

/** Where the relay connects to. `netns` is the path of a namespace file in which the connecting socket is made. */
export interface RelayTarget {
  /** IPv4 or IPv6 literal. */
  readonly address: string
  /** Tried once, at once, when `address` refuses or cannot be reached: ::1 beside 127.0.0.1 for `netns` targets. */
  readonly alternative?: string
  readonly netns?: string
  /** `netns` counts only while this process runs: its pid, and with it the path, may be given to another. */
  readonly process?: ProcessRef
}

export interface ServiceSpec {
  /** The publication's id; unique in the relay. */
  readonly id: string
  readonly protocol: 'tcp' | 'udp'
  /** Listening addresses, IPv4 or IPv6 literals; IPv6 sockets are always IPV6_V6ONLY. */
  readonly addresses: readonly string[]
  readonly ports: PortRange
  /** `null`: the port is only reserved. A TCP client is reset, a datagram is dropped. */
  readonly target: RelayTarget | null
  readonly targetPorts: PortRange
  readonly limits: Limits
}

export interface Limits {
  /** Connections or flows at once; TCP beyond it waits in the backlog, UDP evicts the oldest flow. */
  readonly maxConnections: number
  /** Milliseconds for the backend connect; the client is reset when it runs out. */
  readonly connectTimeout: number
  /** Milliseconds without a byte either way before a TCP connection is closed; 0 = never. */
  readonly idleTimeout: number
  /** Milliseconds without a datagram either way before a UDP flow is forgotten. */
  readonly flowTimeout: number
}

export const DEFAULT_LIMITS: Limits = {
  maxConnections: 65_536,
  connectTimeout: 10_000,
  idleTimeout: 0,
  flowTimeout: 90_000,
}

/** Payload bytes; `in` is client → target. `total` counts accepted connections (UDP: flows made). */
export interface ServiceCounters {
  readonly active: number
  readonly total: number
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface Engine {
  readonly name: 'splice' | 'node'
  /**
   * Listens on every address × port of every service given, in one step: all or nothing over the whole batch.
   * Rejects with `port-taken` (address, port, protocol of the culprit), `port-denied`, `address-unavailable`,
   * `fd-limit`.
   */
  open(services: readonly ServiceSpec[]): Promise<void>
  /** Closes services, their listeners and live connections; unknown ids are ignored. */
  close(ids: readonly string[]): Promise<void>
  /** Points a service elsewhere; live TCP connections stay where they are, UDP flows are dropped. */
  retarget(id: string, target: RelayTarget | null): Promise<void>
  services(): Promise<readonly ServiceSpec[]>
  counters(): Promise<ReadonlyMap<string, ServiceCounters>>
  /** Closes everything. */
  shutdown(): Promise<void>
}
