/**
 * The plan: what the kernel should hold, as data. Pure: nothing here looks at the machine.
 *
 *   index.ts       what is wanted: forwards, networks, opened interfaces; changes to them
 *   operations.ts  the algebra of changes: apply, invert, diff
 *   sets.ts        the table's sets and maps, chains.ts its chains: constants, in the words of nftables.ts
 *   elements.ts    what a forward or a network puts into the sets and maps
 *   ruleset.ts     transactions: the whole table, or the elements that a change adds and removes
 *   observed.ts    reads the table back: drift and counters
 */
import type { Family, PortRange, Protocol } from '../core/address.ts'

/**
 * One publication's share of the kernel path. Only the families present in `to` are translated; a forward with an
 * empty `to` translates nothing, yet keeps other machines away from the publication's loopback addresses.
 */
export interface Forward {
  readonly publication: string
  readonly protocol: Protocol
  /** Canonical host addresses of either family; wildcards 0.0.0.0 and ::. */
  readonly hostIps: readonly string[]
  readonly ports: PortRange
  readonly to: { readonly 4?: string; readonly 6?: string }
  /** As long as `ports`: port `ports.first + i` leads to `toPorts.first + i`. */
  readonly toPorts: PortRange
}

/** One bridge network's share. Subnets are canonical blocks (no host bits). */
export interface BridgeNet {
  readonly bridge: string
  readonly subnet4: string | null
  readonly subnet6: string | null
  /** Where containers reach a resolver that listens on this host's loopback (port 53), and nobody else does. */
  readonly resolver4?: string
}

/** Interfaces that forward a family only because we turned it on; bridges of ours may be among them. */
export type Opened = Readonly<Record<Family, readonly string[]>>

/** A change to the table, closed under inversion. */
export type Operation =
  | { readonly op: 'add-forward'; readonly forward: Forward }
  | { readonly op: 'remove-forward'; readonly forward: Forward }
  | { readonly op: 'add-network'; readonly net: BridgeNet }
  | { readonly op: 'remove-network'; readonly net: BridgeNet }
  | { readonly op: 'set-opened'; readonly before: Opened; readonly after: Opened }

/** Everything the table holds. */
export interface Desired {
  /** At most one per publication, and no two that claim the same address, protocol and port. */
  readonly forwards: readonly Forward[]
  /** At most one per bridge. */
  readonly networks: readonly BridgeNet[]
  readonly opened: Opened
}

export const NOTHING: Desired = { forwards: [], networks: [], opened: { 4: [], 6: [] } }
