/**
 * Containers whose service answers IPv4 only, although the container has an IPv6 address (python's http.server, nginx
 * with `listen 80`, anything bound to 0.0.0.0). Translating an IPv6 client to such a container would get it refused;
 * the relay, which may answer IPv6 with IPv4, gets it through.
 *
 * What listens is asked of the container's own network namespace: when a publication is made, at start, and every few
 * seconds after that, because a service may start, or change its mind, at any time. Nothing found at all says
 * nothing: IPv6 is then left to the kernel, as the address promises.
 *
 * Invariant: `has` changes only together with the table, inside the transaction of `refresh`, or for publications that
 * are not in the table yet (`look`): so what is removed from the table is what was put there.
 */
import { familyOf } from '../core/address.ts'
import { type BoundSocket, boundSockets } from '../kernel/sockets.ts'
import type { Container, Publication } from '../model/index.ts'

/** Milliseconds for which a container's tables are taken to be true. */
const FRESH = 100

const LOOPBACK = /^127\.|^::1$/

/** Whether some port of the publication is listened on over IPv4, and none over IPv6. A dual socket is in the IPv6 table. */
export const answersIpv4Only = (p: Publication, sockets: readonly BoundSocket[]): boolean => {
  const families = new Set(
    sockets
      .filter(
        ({ port, address }) => p.targetPort <= port && port <= p.targetPortEnd && !LOOPBACK.test(address),
      )
      .map(({ address }) => familyOf(address)),
  )
  return families.has(4) && !families.has(6)
}

const targetOf = (p: Publication, containers: ReadonlyMap<string, Container>): Container | undefined =>
  p.target.kind === 'container' ? containers.get(p.target.container) : undefined

export class Ipv4Only {
  readonly #ids = new Set<string>()
  readonly #tables = new Map<string, Promise<readonly BoundSocket[]>>()

  has(publicationId: string): boolean {
    return this.#ids.has(publicationId)
  }

  set(publicationId: string, value: boolean): void {
    if (value) this.#ids.add(publicationId)
    else this.#ids.delete(publicationId)
  }

  /** Publications whose answer differs from what is known, with the new one. */
  async changes(
    publications: Iterable<Publication>,
    containers: ReadonlyMap<string, Container>,
  ): Promise<ReadonlyMap<Publication, boolean>> {
    const changed = new Map<Publication, boolean>()
    for (const p of publications) {
      const pid = targetOf(p, containers)?.pid ?? null
      if (pid === null || p.protocol === 'sctp' || p.via === 'relay') continue
      const answer = answersIpv4Only(p, await this.#read(p.protocol, pid))
      if (answer !== this.has(p.id)) changed.set(p, answer)
    }
    return changed
  }

  /** Many publications made at once share a look. */
  #read(transport: 'tcp' | 'udp', pid: number): Promise<readonly BoundSocket[]> {
    const key = `${transport} ${pid}`
    const recent = this.#tables.get(key)
    if (recent !== undefined) return recent
    const table = boundSockets(transport, pid)
    this.#tables.set(key, table)
    setTimeout(() => this.#tables.delete(key), FRESH).unref()
    return table
  }
}
