/** What every way of publishing a port looks like to the cases. */
import { BACKEND, type Service, startBackend } from '../lab/backend.ts'
import { HOST, makeWorld, type World } from '../lab/world.ts'

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** A peer at work in its world, publishing http, bulk and (where it can) udp. */
export interface Running {
  readonly name: string
  readonly world: World
  /** Where a client outside the host connects to. */
  readonly endpoint: (service: Service, family?: 4 | 6) => Endpoint
  /** The processes that do the forwarding; empty for a path in the kernel. */
  readonly pids: () => Promise<readonly number[]>
  /** Those of them that connections go through, where others stand by: their memory grows and shrinks for other reasons. */
  readonly carriers?: () => Promise<readonly number[]>
}

export interface Peer {
  /** As in tables and plots. */
  readonly name: string
  /** Programs it needs (or files, by their paths), with the Debian package that has each. */
  readonly needs: Readonly<Record<string, string>>
  /** `world` names its namespaces, for a second one of the kind. */
  readonly start: (world?: string) => Promise<Running>
  /** Of portctl: the same, built in another checkout. */
  readonly from?: (checkout: string, label: string) => Peer
}

/** Ports on the host. */
export const PUBLISHED = {
  http: 8080,
  bulk: 5201,
  echo: 7007,
  udp: 9000,
  ping: 9001,
} as const satisfies Record<Service, number>

export const SERVICES = [
  { service: 'http', protocol: 'tcp', port: PUBLISHED.http, to: BACKEND.http },
  { service: 'bulk', protocol: 'tcp', port: PUBLISHED.bulk, to: BACKEND.bulk },
  { service: 'echo', protocol: 'tcp', port: PUBLISHED.echo, to: BACKEND.echo },
  { service: 'udp', protocol: 'udp', port: PUBLISHED.udp, to: BACKEND.udp },
  { service: 'ping', protocol: 'udp', port: PUBLISHED.ping, to: BACKEND.ping },
] as const

/** An ordinary world with its backend running. */
export const furnished = async (name: string): Promise<World> => {
  const world = await makeWorld(name)
  await startBackend(world.container)
  return world
}

export const published: Running['endpoint'] = (service, family = 4) => ({
  host: HOST[family],
  port: PUBLISHED[service],
})

export const url = ({ host, port }: Endpoint): string =>
  `http://${host.includes(':') ? `[${host}]` : host}:${port}/`
