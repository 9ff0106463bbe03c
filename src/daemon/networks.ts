/**
 * Bridge networks. The default one, `bridge`, is made when the first container needs it, so that a daemon that
 * only relays leaves no trace in the kernel.
 *
 * A network in force is: the bridge device with the gateway addresses; `route_localnet` on it (this host's
 * 127.0.0.1 clients arrive with a loopback source; the table's guards keep everything else out); forwarding on
 * for every interface on which it was off; its elements in the nftables table; and, where this host's resolver
 * listens on loopback, relay services that carry DNS from the gateway address to it.
 *
 * `ensureDefault` is safe to call from many requests at once; `restore` is idempotent and makes what is missing.
 */
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { familyOf, formatCidr, parseCidr, parseInterfaceAddress } from '../core/address.ts'
import { choosePool, choosePool6, gatewayOf, macFromIpv4 } from '../ipam/index.ts'
import { applyForwarding, planForwarding, restoreForwarding } from '../kernel/forwarding.ts'
import type { Kernel } from '../kernel/index.ts'
import { onlyLoopback, type Resolver } from '../kernel/resolv.ts'
import type { Network } from '../model/index.ts'
import type { BridgeNet, Operation } from '../plan/index.ts'
import { DEFAULT_LIMITS, type ServiceSpec } from '../relay/engine.ts'
import { type Committer, NOTHING } from './committer.ts'
import { dropForwarding, type Forwarding, forwardingOf, noteForwarding } from './notes.ts'
import type { Change, Store } from './store.ts'

export const DEFAULT_NETWORK = 'bridge'

export interface NetworkParts {
  readonly store: Store
  readonly committer: Committer
  readonly kernel: Kernel
  readonly resolver: Resolver
  readonly families: readonly (4 | 6)[]
  readonly kernelPath: boolean
  readonly log: Logger
}

export const bridgeNetOf = (network: Network, resolver: Resolver): BridgeNet => {
  const resolver4 = resolverOf(network, resolver)
  return {
    bridge: network.bridge,
    subnet4: network.subnet4,
    subnet6: network.subnet6,
    ...(resolver4 === null ? {} : { resolver4 }),
  }
}

/** The address that stands in for name servers on loopback, which can't be reached from inside; null without need. */
export const resolverOf = (network: Network, resolver: Resolver): string | null =>
  onlyLoopback(resolver) ? network.gateway4 : null

/** Relay services that bring a loopback resolver of this host to a network's gateway address. */
export const dnsServices = (network: Network, resolver: Resolver): readonly ServiceSpec[] => {
  const [server = '127.0.0.1'] = resolver.nameservers
  const address = resolverOf(network, resolver)
  if (address === null) return []
  return (['udp', 'tcp'] as const).map(protocol => ({
    id: `dns-${protocol}-${network.name}`,
    protocol,
    addresses: [address],
    ports: { first: 53, last: 53 },
    target: { address: server },
    targetPorts: { first: 53, last: 53 },
    limits: { ...DEFAULT_LIMITS, flowTimeout: 10_000 },
  }))
}

/** Milliseconds after which interfaces are looked at closely again, though none came or went: one may have joined or left a bridge. */
const CLOSE_LOOK = 30_000

interface Interfaces {
  readonly names: string
  /** Of performance.now(). */
  readonly at: number
  readonly ways: readonly string[]
}

export class Networks {
  readonly #parts: NetworkParts
  #last: Promise<unknown> = Promise.resolve()
  #seen: Interfaces = { names: '', at: Number.NEGATIVE_INFINITY, ways: [] }

  constructor(parts: NetworkParts) {
    this.#parts = parts
  }

  ensureDefault(): Promise<Network> {
    const { networks } = this.#parts.store.state
    return this.#inTurn(async () => networks.get(DEFAULT_NETWORK) ?? (await this.#create()))
  }

  /** Takes back a network that was made for a container that could not be. @param unused asked when its turn comes */
  releaseDefault(unused: () => boolean): Promise<void> {
    const { networks } = this.#parts.store.state
    return this.#inTurn(async () => {
      const network = networks.get(DEFAULT_NETWORK)
      if (network !== undefined && unused()) await this.#destroy(network)
    })
  }

  /** After a restart: the devices, as the store says. The table and forwarding come after them (restore.ts). */
  async restore(): Promise<void> {
    const { store, kernel } = this.#parts
    const there = new Set((await kernel.links.list()).map(link => link.name))
    for (const network of store.state.networks.values())
      if (!there.has(network.bridge)) await this.#createBridge(network)
  }

  /** Turns forwarding on for interfaces that have appeared since; their names go into the table with the change. */
  async refreshForwarding(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#parts.store.state.networks.size > 0) await this.#withForwarding([], [])
    })
  }

  /** Removes devices and records, undoes sysctls; the table and the relay are somebody else's to end. */
  async removeAll(): Promise<void> {
    const { store, kernel } = this.#parts
    await restoreForwarding(kernel.sysctl, forwardingOf(store).changes)
    for (const network of store.state.networks.values()) await kernel.links.remove(network.bridge)
    await store.commit([
      ...[...store.state.networks.keys()].map(id => ({ delete: 'networks' as const, id })),
      dropForwarding(),
    ])
  }

  async #create(): Promise<Network> {
    const { committer, kernelPath, resolver, log } = this.#parts
    const network = await this.#choose()
    await this.#createBridge(network)
    try {
      await this.#withForwarding(
        kernelPath ? [{ op: 'add-network', net: bridgeNetOf(network, resolver) }] : [],
        [{ put: 'networks', id: network.name, value: network }],
      )
    } catch (error) {
      await this.#destroy(network)
      throw error
    }
    await committer
      .submit(() => ({ ...NOTHING, open: dnsServices(network, resolver) }))
      // Most likely a resolver that already listens on every address, the gateway's included: then all is well.
      .catch(error => log.warn({ err: error }, 'DNS is not carried from the gateway address'))
    log.info({ network: network.name, bridge: network.bridge, subnet4: network.subnet4 }, 'network made')
    return network
  }

  /** Forwarding ends before the table's guards go. What an interrupted one leaves is found at the next start. */
  async #destroy(network: Network): Promise<void> {
    const { store, committer, kernel, kernelPath, resolver } = this.#parts
    const { changes, opened } = forwardingOf(store)
    await restoreForwarding(kernel.sysctl, changes)
    if (store.state.networks.has(network.name))
      await committer.submit(() => ({
        ...NOTHING,
        operations: kernelPath
          ? [
              { op: 'set-opened', before: opened, after: { 4: [], 6: [] } },
              { op: 'remove-network', net: bridgeNetOf(network, resolver) },
            ]
          : [],
        changes: [{ delete: 'networks', id: network.name }, dropForwarding()],
        close: dnsServices(network, resolver).map(({ id }) => id),
      }))
    await kernel.links.remove(network.bridge)
  }

  /** One change of networks and forwarding after another: each goes on from what the one before it has noted. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#last.then(change)
    this.#last = result.catch(() => undefined)
    return result
  }

  /**
   * Commits the change given together with the forwarding that it needs. The table and the note come first: an
   * interface never forwards for us before the table keeps strangers out and the way back is written down.
   */
  async #withForwarding(operations: readonly Operation[], changes: readonly Change[]): Promise<void> {
    const { store, committer, kernel, kernelPath } = this.#parts
    const before = forwardingOf(store)
    // Without the table nothing could keep the opened interfaces from forwarding for strangers.
    const plan = await planForwarding(kernel.sysctl, kernelPath ? await this.#ways() : [])
    if (plan.changes.length === 0) {
      if (changes.length > 0) await committer.submit(() => ({ ...NOTHING, operations, changes }))
      return
    }
    // One that went and came back is noted once, with the value it came back with.
    const again = new Set(plan.changes.map(({ key }) => key))
    const after: Forwarding = {
      changes: [...before.changes.filter(({ key }) => !again.has(key)), ...plan.changes],
      opened: {
        4: [...new Set([...before.opened[4], ...plan.opened[4]])],
        6: [...new Set([...before.opened[6], ...plan.opened[6]])],
      },
    }
    await committer.submit(() => ({
      ...NOTHING,
      operations: [...operations, { op: 'set-opened', before: before.opened, after: after.opened }],
      changes: [...changes, noteForwarding(after)],
    }))
    await applyForwarding(kernel.sysctl, plan.changes)
  }

  /**
   * Interfaces that packets for containers may come in by: all but loopback and the ports of bridges. Looked at closely,
   * which takes a process, when their names have changed or the last close look is long ago.
   */
  async #ways(): Promise<readonly string[]> {
    const { links, sysctl } = this.#parts.kernel
    const names = (await sysctl.list('net/ipv4/conf')).toSorted().join(' ')
    const now = performance.now()
    if (names !== this.#seen.names || now - this.#seen.at > CLOSE_LOOK) {
      const found = await links.list()
      const ways = found.filter(link => link.name !== 'lo' && link.bridge === null).map(link => link.name)
      this.#seen = { names, at: now, ways }
    }
    return this.#seen.ways
  }

  /** An unused bridge name, a /16 that overlaps nothing this host knows, a ULA /64 (RFC 4193). */
  async #choose(): Promise<Network> {
    const { links } = this.#parts.kernel
    const names = new Set((await links.list()).map(link => link.name))
    let bridge = 'portctl0'
    for (let i = 1; names.has(bridge); i++) bridge = `portctl${i}`
    const occupied = await links.occupied()
    const pool4 = choosePool(occupied)
    const pool6 = this.#parts.families.includes(6) ? choosePool6(occupied) : null
    return {
      id: randomBytes(6).toString('hex'),
      name: DEFAULT_NETWORK,
      driver: 'bridge',
      bridge,
      subnet4: formatCidr(pool4),
      gateway4: gatewayOf(pool4),
      subnet6: pool6 && formatCidr(pool6),
      gateway6: pool6 && gatewayOf(pool6),
    }
  }

  async #createBridge(network: Network): Promise<void> {
    const { kernel, families } = this.#parts
    const { links, sysctl } = kernel
    const addresses = [
      [network.gateway4, network.subnet4],
      [network.gateway6, network.subnet6],
    ].flatMap(([gateway, subnet]) => (gateway && subnet ? [`${gateway}/${parseCidr(subnet).prefix}`] : []))
    await links.createBridge({
      name: network.bridge,
      owner: network.id,
      mac: macFromIpv4(parseInterfaceAddress(addresses[0] as string).address),
      // A network with IPv6 can outlive the host's.
      addresses: addresses.filter(address => families.includes(familyOf(address))),
    })
    await sysctl.write([{ key: `net/ipv4/conf/${network.bridge}/route_localnet`, value: '1' }])
  }
}
