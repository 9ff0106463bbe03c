/** What should be in force, derived from what the store holds: for the start, for repairs, for a new relay. Pure. */
import type { Resolver } from '../kernel/resolv.ts'
import type { Desired } from '../plan/index.ts'
import type { ServiceSpec } from '../relay/engine.ts'
import type { Ipv4Only } from './ipv4-only.ts'
import { bridgeNetOf, dnsServices } from './networks.ts'
import { forwardingOf } from './notes.ts'
import { routeOf, type Surroundings } from './route.ts'
import type { Store } from './store.ts'

export const surroundings = (store: Store, kernelPath: boolean, ipv4Only: Ipv4Only): Surroundings => ({
  ipv4Only: id => ipv4Only.has(id),
  containers: store.state.containers,
  networks: store.state.networks,
  kernelPath,
})

export const desiredTable = (store: Store, resolver: Resolver, ipv4Only: Ipv4Only): Desired => {
  const around = surroundings(store, true, ipv4Only)
  return {
    forwards: [...store.state.publications.values()].flatMap(p => routeOf(p, around).forward ?? []),
    networks: [...store.state.networks.values()].map(network => bridgeNetOf(network, resolver)),
    opened: forwardingOf(store).opened,
  }
}

export const desiredServices = (
  store: Store,
  kernelPath: boolean,
  resolver: Resolver,
  ipv4Only: Ipv4Only,
): readonly ServiceSpec[] => {
  const around = surroundings(store, kernelPath, ipv4Only)
  return [
    ...[...store.state.networks.values()].flatMap(network => dnsServices(network, resolver)),
    ...[...store.state.publications.values()].flatMap(p => routeOf(p, around).service ?? []),
  ]
}
