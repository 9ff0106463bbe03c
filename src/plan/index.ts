/**
 * The plan: what the kernel should hold, as data. Pure; `ruleset.ts` turns it into nftables JSON.
 */
import type { PortRange, Protocol } from '../core/address.ts'

/** One publication's share of the kernel path. Only the families present in `to` are translated. */
export interface Forward {
  readonly publication: string
  readonly protocol: Protocol
  /** Host addresses of either family; wildcards 0.0.0.0 and ::. */
  readonly hostIps: readonly string[]
  readonly ports: PortRange
  readonly to: { readonly 4?: string; readonly 6?: string }
  /** First target port; equal to ports.first when the range is not shifted. `single`: every port leads to it. */
  readonly toPorts: PortRange
}

/** One bridge network's share. */
export interface BridgeNet {
  readonly bridge: string
  readonly subnet4: string | null
  readonly subnet6: string | null
}

/** A change to the table, closed under inversion. */
export type Operation =
  | { readonly op: 'add-forward'; readonly forward: Forward }
  | { readonly op: 'remove-forward'; readonly forward: Forward }
  | { readonly op: 'add-network'; readonly net: BridgeNet }
  | { readonly op: 'remove-network'; readonly net: BridgeNet }
  | { readonly op: 'set-opened'; readonly before: readonly string[]; readonly after: readonly string[] }

/** Everything the table holds. */
export interface Desired {
  readonly forwards: readonly Forward[]
  readonly networks: readonly BridgeNet[]
  readonly opened: readonly string[]
}
