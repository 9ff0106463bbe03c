/**
 * The kernel's share of a container: its named namespace, its veth pair, its resolv.conf. `wire` makes what is
 * missing and can be repeated; `unwire` removes what is there and can be repeated. Neither knows the store.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isLoopback } from '../core/address.ts'
import type { Kernel } from '../kernel/index.ts'
import type { Link } from '../kernel/link.ts'
import { netnsIdentity, netnsPath } from '../kernel/netns.ts'
import { formatResolvConf, type Resolver } from '../kernel/resolv.ts'
import type { Container, Network } from '../model/index.ts'
import { addressesOf } from './container-addresses.ts'
import { killInside } from './container-process.ts'
import type { Logger } from './logging.ts'
import { resolverOf } from './networks.ts'
import type { Wiring } from './notes.ts'

export const wiringOf = ({ id, name, endpoints }: Container): Wiring => ({
  id,
  namespace: name,
  links: endpoints.map(endpoint => endpoint.hostInterface),
  addresses: endpoints.flatMap(addressesOf),
})

const filesOf = (runDir: string, id: string): string => join(runDir, 'containers', id)

/** The file to bind over /etc/resolv.conf inside. */
export const resolvConfOf = (runDir: string, id: string): string => join(filesOf(runDir, id), 'resolv.conf')

const resolvConf = (resolver: Resolver, network: Network | undefined): string => {
  const standIn = network === undefined ? null : resolverOf(network, resolver)
  const nameservers =
    standIn === null ? resolver.nameservers.filter(server => !isLoopback(server)) : [standIn]
  return formatResolvConf({ ...resolver, nameservers })
}

/** `links`: those of this host; none of a new container's can be among them. */
export const wire = async (
  container: Container,
  networks: ReadonlyMap<string, Network>,
  kernel: Kernel,
  runDir: string,
  resolver: Resolver,
  links: readonly Link[] = [],
): Promise<void> => {
  const { id, name, endpoints } = container
  const fresh = (await netnsIdentity(netnsPath(name))) === null
  if (fresh) await kernel.netns.create(name)
  mkdirSync(filesOf(runDir, id), { recursive: true, mode: 0o755 })
  writeFileSync(resolvConfOf(runDir, id), resolvConf(resolver, networks.get(endpoints[0]?.network ?? '')))
  for (const endpoint of endpoints) {
    const network = networks.get(endpoint.network)
    const old = links.find(link => link.name === endpoint.hostInterface)
    if (network === undefined || (old?.bridge === network.bridge && !fresh)) continue
    // Its other end is in a namespace that is gone, or its bridge was taken away: a new pair is wired as the first was.
    if (old !== undefined) await kernel.links.remove(old.name)
    await kernel.links.createVeth({
      name: endpoint.hostInterface,
      owner: id,
      bridge: network.bridge,
      netns: netnsPath(name),
      peer: endpoint.interfaceName,
      mac: endpoint.mac,
      addresses: [endpoint.ipv4, endpoint.ipv6].filter(address => address !== null),
      gateways: [
        endpoint.ipv4 === null ? null : network.gateway4,
        endpoint.ipv6 === null ? null : network.gateway6,
      ].filter(address => address !== null),
    })
  }
}

/** Also ends whatever still runs inside: a namespace without a name would otherwise live on with it. */
export const unwire = async (wiring: Wiring, kernel: Kernel, runDir: string, log: Logger): Promise<void> => {
  if (!(await killInside(wiring.namespace)))
    log.warn(
      { container: wiring.id },
      'a process inside can not be killed; its namespace lives on without a name',
    )
  for (const link of wiring.links) await kernel.links.remove(link)
  await kernel.netns.remove(wiring.namespace)
  // Their addresses will be somebody else's: no flow may outlive them.
  await kernel.conntrack
    .flush([], wiring.addresses)
    .catch(err =>
      log.warn({ err, container: wiring.id }, 'flows of a removed container could not be flushed'),
    )
  rmSync(filesOf(runDir, wiring.id), { recursive: true, force: true })
}
