/** What is stored and counted, as `ls`, `ps` and `inspect` show it. Pure. */
import type { ContainerDetail, ContainerView, PublicationView } from '../api/views.ts'
import { formatMapping } from '../core/socket-address.ts'
import type { Container, Network, Publication } from '../model/index.ts'
import type { ServiceCounters } from '../relay/engine.ts'
import type { Route } from './route.ts'

/** What the kernel counted for one publication; bytes are those of whole IP packets. */
interface KernelCounters {
  readonly connections: number
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface Counted {
  readonly relay: ServiceCounters | undefined
  readonly kernel: KernelCounters | undefined
  /** Flows that conntrack holds for the publication now. */
  readonly kernelActive: number
}

export const publicationView = (
  p: Publication,
  route: Route,
  state: string,
  { relay, kernel, kernelActive }: Counted,
): PublicationView => ({
  id: p.id,
  name: p.name,
  protocol: p.protocol,
  hostIps: p.hostIps,
  hostPort: p.hostPort,
  hostPortEnd: p.hostPortEnd,
  container: route.container?.name ?? null,
  target: route.target,
  targetPort: p.targetPort,
  targetPortEnd: p.targetPortEnd,
  via: route.via,
  state,
  connections: {
    active: (relay?.active ?? 0) + kernelActive,
    total: (relay?.total ?? 0) + (kernel?.connections ?? 0),
  },
  bytes: {
    in: (relay?.bytesIn ?? 0) + (kernel?.bytesIn ?? 0),
    out: (relay?.bytesOut ?? 0) + (kernel?.bytesOut ?? 0),
  },
})

const mappings = (p: Publication): string[] =>
  p.hostIps.map(ip =>
    formatMapping(
      ip,
      { first: p.hostPort, last: p.hostPortEnd },
      { first: p.targetPort, last: p.targetPortEnd },
      p.protocol,
    ),
  )

export const containerView = (
  container: Container,
  networks: ReadonlyMap<string, Network>,
  publications: readonly Publication[],
): ContainerView => ({
  name: container.name,
  id: container.id,
  pid: container.pid,
  netns: container.netns,
  status: container.status,
  networks: Object.fromEntries(
    container.endpoints.map(({ network, ipv4, ipv6, mac }) => [
      network,
      { ipv4, ipv6, mac, gateway: networks.get(network)?.gateway4 ?? null },
    ]),
  ),
  ports: publications.flatMap(mappings),
})

export const containerDetail = (
  container: Container,
  networks: ReadonlyMap<string, Network>,
  publications: readonly Publication[],
  files: { readonly resolvConf: string; readonly logFile: string | null },
): ContainerDetail => ({
  ...containerView(container, networks, publications),
  command: container.command,
  exitCode: container.exitCode,
  autoRemove: container.autoRemove,
  ...files,
})
