/** The nouns of portctl, as they are stored and as they cross the API. */
import type { Port, Protocol } from '../core/address.ts'
import type { ProcessRef } from '../core/process-identity.ts'

/** What a publication leads to, as resolved and stored. */
export type Target =
  | { readonly kind: 'container'; readonly container: string /* id */ }
  | { readonly kind: 'address'; readonly address: string }
  | ({ readonly kind: 'pid' } & ProcessRef)
  | { readonly kind: 'netns'; readonly path: string; readonly name?: string }

export type Via = 'auto' | 'kernel' | 'relay'

/** One `-p` mapping. A range is one publication: hostPort + i leads to targetPort + i. */
export interface Publication {
  /** 12 lower-case hex digits. */
  readonly id: string
  readonly name: string | null
  readonly protocol: Protocol
  /** Canonical literals; `0.0.0.0` and `::` are the wildcards. */
  readonly hostIps: readonly string[]
  readonly hostPort: Port
  readonly hostPortEnd: Port
  readonly target: Target
  readonly targetPort: Port
  readonly targetPortEnd: Port
  /** As asked; what is in use is derived. */
  readonly via: Via
  /** It lasts as long as the client that asked for it: no later than the daemon that the client is connected to. */
  readonly held?: true
}

/** One container's place on one network. */
export interface Endpoint {
  readonly network: string
  readonly interfaceName: string
  /** Host end of the veth pair. */
  readonly hostInterface: string
  /** CIDR form, e.g. 172.18.0.2/16; null when the network has no such family. */
  readonly ipv4: string | null
  readonly ipv6: string | null
  readonly mac: string
}

export interface Container {
  /** 12 lower-case hex digits. */
  readonly id: string
  readonly name: string
  /** /run/netns/NAME */
  readonly netns: string
  /** Main process; null before the start and after the end is known. */
  readonly pid: number | null
  /** Field 22 of /proc/PID/stat (clock ticks since boot): tells a reused pid apart. */
  readonly pidStart: number | null
  readonly status: 'created' | 'running' | 'exited'
  readonly exitCode: number | null
  readonly command: readonly string[]
  readonly autoRemove: boolean
  readonly endpoints: readonly Endpoint[]
}

export interface Network {
  readonly id: string
  readonly name: string
  readonly driver: 'bridge'
  readonly bridge: string
  readonly subnet4: string | null
  readonly gateway4: string | null
  readonly subnet6: string | null
  readonly gateway6: string | null
}
