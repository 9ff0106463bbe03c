/**
 * Which way a publication goes (DESIGN: "Which way a packet goes"): from what was asked and what is there, to
 * the relay's service and the kernel's forward. Pure, and used alike when publishing, when starting up and when
 * repairing, so that the three can't disagree.
 *
 * The relay listens in every case; on the kernel path it serves what the kernel can't carry (`[::1]`, an IPv6
 * client of an IPv4-only container) and takes over when somebody flushes the rules.
 */
import { contains, familyOf, isLoopback, parseCidr } from '../core/address.ts'
import { netnsOfPid } from '../kernel/netns.ts'
import type { Container, Network, Publication } from '../model/index.ts'
import type { Forward } from '../plan/index.ts'
import { DEFAULT_LIMITS, type RelayTarget, type ServiceSpec } from '../relay/engine.ts'

export interface Surroundings {
  readonly containers: ReadonlyMap<string, Container>
  readonly networks: ReadonlyMap<string, Network>
  /** Whether the publication's service was seen to answer IPv4 only (ipv4-only.ts). */
  readonly ipv4Only: (publicationId: string) => boolean
  /** Whether nftables can be used here at all. */
  readonly kernelPath: boolean
}

export interface Route {
  readonly service: ServiceSpec | null
  readonly forward: Forward | null
  /** The way in use. */
  readonly via: 'kernel' | 'relay'
  /** The container that answers, if it is one of ours. */
  readonly container: Container | null
  /** As `ls` prints it. */
  readonly target: string
}

interface Destination {
  readonly relay: RelayTarget | null
  /** Addresses that the kernel can translate to. */
  readonly kernel: { readonly 4?: string; readonly 6?: string }
  readonly container: Container | null
  readonly text: string
}

const bare = (cidr: string | null | undefined) => cidr?.replace(/\/.*/, '')

const containerDestination = (container: Container, ipv4Only: boolean): Destination => {
  const endpoint = container.endpoints[0]
  const v4 = bare(endpoint?.ipv4)
  const v6 = bare(endpoint?.ipv6)
  const [address, alternative] = v4 === undefined ? [v6, undefined] : [v4, v6]
  return {
    // Without a network the container's own loopback is all there is.
    relay:
      address === undefined
        ? { address: '127.0.0.1', alternative: '::1', netns: container.netns }
        : { address, ...(alternative === undefined ? {} : { alternative }) },
    kernel: { ...(v4 === undefined ? {} : { 4: v4 }), ...(v6 === undefined || ipv4Only ? {} : { 6: v6 }) },
    container,
    text: address ?? `netns:${container.name}`,
  }
}

/** An address on one of our bridges is a container's: the kernel may carry it. */
const onOurBridge = (address: string, networks: Iterable<Network>): boolean => {
  for (const { subnet4, subnet6 } of networks)
    for (const subnet of [subnet4, subnet6])
      if (subnet !== null && contains(parseCidr(subnet), address)) return true
  return false
}

const destination = (publication: Publication, around: Surroundings): Destination => {
  const { target } = publication
  switch (target.kind) {
    case 'container': {
      const container = around.containers.get(target.container)
      if (container === undefined) return { relay: null, kernel: {}, container: null, text: target.container }
      return containerDestination(container, around.ipv4Only(publication.id))
    }
    case 'address': {
      const { address } = target
      const kernel = onOurBridge(address, around.networks.values()) ? { [familyOf(address)]: address } : {}
      return { relay: { address }, kernel, container: null, text: address }
    }
    case 'pid': {
      const { pid, identity } = target
      const netns = netnsOfPid(pid)
      const relay = { address: '127.0.0.1', alternative: '::1', netns, process: { pid, identity } }
      return { relay, kernel: {}, container: null, text: `pid:${target.pid}` }
    }
    case 'netns': {
      const relay = { address: '127.0.0.1', alternative: '::1', netns: target.path }
      return { relay, kernel: {}, container: null, text: `netns:${target.name ?? target.path}` }
    }
    default:
      return target satisfies never
  }
}

/**
 * The table's share; null when it has none. Translation apart, the table guards every port on 127/8 against other
 * machines, whichever way the port goes.
 */
const forwardOf = (publication: Publication, to: Forward['to'], translated: boolean): Forward | null =>
  translated || publication.hostIps.some(isLoopback)
    ? {
        publication: publication.id,
        protocol: publication.protocol,
        hostIps: publication.hostIps,
        ports: { first: publication.hostPort, last: publication.hostPortEnd },
        to,
        toPorts: { first: publication.targetPort, last: publication.targetPortEnd },
      }
    : null

export const routeOf = (publication: Publication, around: Surroundings): Route => {
  const { relay, kernel, container, text } = destination(publication, around)
  const to = publication.via === 'relay' || !around.kernelPath ? {} : kernel
  // The kernel can't route ::1 off lo (chains.ts).
  const translated = publication.hostIps.some(ip => ip !== '::1' && to[familyOf(ip)] !== undefined)
  const forward = around.kernelPath ? forwardOf(publication, to, translated) : null
  const { protocol } = publication
  const service: ServiceSpec | null =
    protocol === 'sctp'
      ? null
      : {
          id: publication.id,
          protocol,
          addresses: publication.hostIps,
          ports: { first: publication.hostPort, last: publication.hostPortEnd },
          target: publication.via === 'kernel' ? null : relay,
          targetPorts: { first: publication.targetPort, last: publication.targetPortEnd },
          limits: DEFAULT_LIMITS,
        }
  return { service, forward, via: translated ? 'kernel' : 'relay', container, target: text }
}
