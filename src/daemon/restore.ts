/**
 * The start: what the store holds is put in force, from the ground up — devices, namespaces, rules, listeners.
 * What is there already is kept as it is (the relay's connections, the table's counters, running commands);
 * what an earlier daemon left half made is cleared away.
 */
import type { Parts } from './assembly.ts'
import { desiredServices, desiredTable } from './desired.ts'

export const restore = async (parts: Parts): Promise<void> => {
  const { store, relay, table, book, networks, containers, noKernelPath, resolver, ipv4Only } = parts
  for (const p of store.state.publications.values())
    book.claim({
      id: p.id,
      protocol: p.protocol,
      addresses: p.hostIps,
      ports: { first: p.hostPort, last: p.hostPortEnd },
    })
  for (const [p, only] of await ipv4Only.changes(store.state.publications.values(), store.state.containers))
    ipv4Only.set(p.id, only)
  await removeStrayLinks(parts)
  await networks.restore()
  if (noKernelPath === null) await table.align(desiredTable(store, resolver, ipv4Only))
  await relay.started
  await relay.align(desiredServices(store, noKernelPath === null, resolver, ipv4Only))
  await containers.restore()
  await networks.refreshForwarding()
  await dropHeld(parts)
}

/** `publish --foreground`: whoever held these lost an earlier daemon and told its user that the outcome is unknown. */
const dropHeld = async ({ store, publisher, log }: Parts): Promise<void> => {
  const held = [...store.state.publications.values()].filter(publication => publication.held)
  if (held.length === 0) return
  log.warn({ publications: held.map(({ id }) => id) }, 'taking back publications that nobody holds any more')
  await publisher.unpublish(held)
}

/** Links that carry our mark and no record: made by a daemon that was killed before it could write them down. */
const removeStrayLinks = async ({ store, kernel, log }: Parts): Promise<void> => {
  if (process.geteuid?.() !== 0) return
  const owners = new Set([
    ...[...store.state.networks.values()].map(network => network.id),
    ...store.state.containers.keys(),
  ])
  for (const link of await kernel.links.list())
    if (link.owner !== null && !owners.has(link.owner)) {
      log.warn({ link: link.name }, 'removing a link left by an earlier daemon')
      await kernel.links.remove(link.name)
    }
}
