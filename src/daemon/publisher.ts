/**
 * Publishing and taking back.
 *
 * A publish is all or nothing over its specifications: every draft claims its ports in the book, those with the least
 * choice first; one transaction makes them all, and a port that turns out to be held by somebody else either moves its
 * draft to the next candidate (ranges, ephemeral ports) or fails the request with the owner's name.
 */
import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { familyOf, isLoopback, wildcard } from '../core/address.ts'
import { asPortctlError, PortctlError } from '../core/errors.ts'
import { parseName } from '../core/name.ts'
import { formatPorts } from '../core/socket-address.ts'
import { netnsOfPid } from '../kernel/netns.ts'
import type { Publication, Target, Via } from '../model/index.ts'
import { isOwnNamespace } from '../relay/loops.ts'
import type { Committer, FlowTuple, Transaction } from './committer.ts'
import type { Ipv4Only } from './ipv4-only.ts'
import type { Claim, Conflict, PortBook } from './port-book.ts'
import { candidates, type Draft, draftsOf, type EphemeralPorts, inClaimOrder } from './request.ts'
import { type Route, routeOf, type Surroundings } from './route.ts'

export interface PublisherParts {
  readonly book: PortBook
  readonly ipv4Only: Ipv4Only
  readonly committer: Committer
  readonly surroundings: () => Surroundings
  readonly publications: () => ReadonlyMap<string, Publication>
  readonly ephemeral: EphemeralPorts
  /** Address families this host has. */
  readonly families: readonly (4 | 6)[]
  /** Who listens on a port, when it is none of ours: `nginx (pid 1234)`. */
  readonly ownerOf: (protocol: string, address: string, port: number) => Promise<string | undefined>
}

export interface Publish {
  readonly specs: readonly string[]
  readonly target: Target
  readonly name: string | null
  readonly via: Via
  readonly held: boolean
}

/** One draft on its way: its candidates, and the one it holds now. */
interface Attempt {
  readonly id: string
  readonly draft: Draft
  readonly ports: Generator<{ readonly first: number; readonly last: number }>
  claim: Claim
}

/** Of a request, as far as they have come. */
type Attempts = Map<Draft, Attempt>

/** A claim, or what held the last candidate: nothing, if there was none. */
type Outcome =
  | { readonly claim: Claim }
  | { readonly claim?: undefined; readonly conflict: Conflict | undefined }

export const newId = (): string => randomBytes(6).toString('hex')

export class Publisher {
  readonly #parts: PublisherParts
  /** Given to requests that are not through yet. */
  readonly #namesInFlight = new Set<string>()

  constructor(parts: PublisherParts) {
    this.#parts = parts
  }

  /** In the order asked for. @throws `spec-invalid`, `port-taken`, `port-twice`, `no-free-port`, `target-loop`, `via-unavailable`, and what the relay and nft report. */
  async publish(request: Publish): Promise<readonly Publication[]> {
    const { book, committer, ephemeral, families, ipv4Only } = this.#parts
    const name = request.name === null ? null : this.#takeName(request.name)
    const attempts: Attempts = new Map()
    try {
      const drafts = draftsOf(request.specs, families)
      for (const draft of inClaimOrder(drafts)) {
        const next = { id: newId(), draft, ports: candidates(draft, ephemeral) }
        const outcome = this.#claim(next)
        if (outcome.claim === undefined) throw this.#exhausted(draft, this.#taken(attempts, outcome.conflict))
        attempts.set(draft, { ...next, claim: outcome.claim })
      }
      for (;;) {
        const publications = drafts.map(draft => toPublication(attempts.get(draft) as Attempt, request, name))
        await this.#look(publications)
        try {
          await committer.submit(() => this.#additions(publications))
          return publications
        } catch (error) {
          await this.#moveOn(attempts, asPortctlError(error))
        }
      }
    } catch (error) {
      for (const { id } of attempts.values()) {
        book.release(id)
        ipv4Only.set(id, false)
      }
      throw error
    } finally {
      if (name !== null) this.#namesInFlight.delete(name)
    }
  }

  /** Until the request is through; then the publications themselves keep it. */
  #takeName(text: string): string {
    const name = parseName(text)
    const holder = [...this.#parts.publications().values()].find(p => p.name === name)
    if (holder !== undefined || this.#namesInFlight.has(name))
      throw PortctlError.of('name-taken', {
        name,
        owner: holder === undefined ? 'a publication' : `publication ${holder.id}`,
      })
    this.#namesInFlight.add(name)
    return name
  }

  /** Takes publications back, at once: live connections end. */
  async unpublish(publications: readonly Publication[]): Promise<void> {
    await this.#parts.committer.submit(() => this.removals(publications))
  }

  /** What takes back those of the publications that are still there, by themselves or in a larger transaction. */
  removals(wanted: readonly Publication[]): Transaction {
    const around = this.#parts.surroundings()
    const publications = wanted.filter(({ id }) => this.#parts.publications().has(id))
    const routes = publications.map(p => routeOf(p, around))
    return {
      open: [],
      operations: routes.flatMap(({ forward }) =>
        forward === null ? [] : [{ op: 'remove-forward' as const, forward }],
      ),
      changes: publications.map(({ id }) => ({ delete: 'publications' as const, id })),
      close: publications.map(({ id }) => id),
      flush: publications.map(flowsOf),
      applied: () => {
        for (const { id } of publications) {
          this.#parts.book.release(id)
          this.#parts.ipv4Only.set(id, false)
        }
      },
    }
  }

  /** Sets what is known of services that run already. */
  async #look(publications: readonly Publication[]): Promise<void> {
    const { ipv4Only, surroundings } = this.#parts
    for (const [{ id }, only] of await ipv4Only.changes(publications, surroundings().containers))
      ipv4Only.set(id, only)
  }

  /** Evaluated when its turn comes: the container may have been removed since it was named. */
  #additions(publications: readonly Publication[]): Transaction {
    const { containers } = this.#parts.surroundings()
    for (const { target } of publications)
      if (target.kind === 'container' && !containers.has(target.container))
        throw PortctlError.of('container-not-found', { name: target.container, known: '' })
    const routes = publications.map(p => this.#usableRoute(p))
    return {
      open: routes.flatMap(({ service }) => (service === null ? [] : [service])),
      operations: routes.flatMap(({ forward }) =>
        forward === null ? [] : [{ op: 'add-forward' as const, forward }],
      ),
      changes: publications.map(p => ({ put: 'publications' as const, id: p.id, value: p })),
      close: [],
      // A UDP client that is sending already has an entry that would keep it away. A TCP entry older than the rule is
      // either a connection of the host's own, which must go on, or was flushed with the publication that made it.
      flush: publications.filter(p => p.protocol !== 'tcp').map(flowsOf),
    }
  }

  /** @throws `via-unavailable` */
  #usableRoute(publication: Publication): Route {
    const around = this.#parts.surroundings()
    const route = routeOf(publication, around)
    if (publication.via === 'kernel' && route.via !== 'kernel')
      throw PortctlError.of('via-unavailable', {
        target: route.target,
        why: around.kernelPath
          ? 'it is not behind a bridge of ours, or has no address of the family asked for'
          : 'nftables cannot be used here',
      })
    if (route.service === null && route.via !== 'kernel')
      throw PortctlError.of('via-unavailable', { target: route.target, why: 'the relay does not carry sctp' })
    return route
  }

  /** Claims the next candidate that no publication of ours holds. */
  #claim({ id, draft, ports }: Omit<Attempt, 'claim'>): Outcome {
    let conflict: Conflict | undefined
    // Not for…of: leaving such a loop ends the generator, which is to go on where it was after a bind conflict.
    for (let next = ports.next(); !next.done; next = ports.next()) {
      const claim: Claim = { id, protocol: draft.protocol, addresses: draft.hostIps, ports: next.value }
      conflict = this.#parts.book.conflict(claim)
      if (conflict === undefined) {
        this.#parts.book.claim(claim)
        return { claim }
      }
    }
    return { conflict }
  }

  /** No candidate is left; `last`: what stood in the way of the last one. */
  #exhausted({ pick, hostPorts, protocol }: Draft, last: PortctlError | undefined): PortctlError {
    if (pick === 'one-to-one' && last !== undefined) return last
    const ports = formatPorts(hostPorts ?? this.#parts.ephemeral.range)
    const why = last?.message ?? 'net.ipv4.ip_local_reserved_ports keeps them all'
    return PortctlError.of('no-free-port', { ports, protocol, why }, { cause: last })
  }

  #taken(attempts: Attempts, conflict: Conflict | undefined): PortctlError | undefined {
    if (conflict === undefined) return undefined
    const { holder, address, port } = conflict
    const { protocol } = holder
    if ([...attempts.values()].some(({ id }) => id === holder.id))
      return PortctlError.of('port-twice', { address, port, protocol })
    const held = this.#parts.publications().get(holder.id)
    const container = held && routeOf(held, this.#parts.surroundings()).container
    const owner = `publication ${holder.id}${container ? ` of container ${container.name}` : ''}`
    return PortctlError.of('port-taken', { address, port, protocol, owner })
  }

  /** After a bind conflict: the draft that ran into it takes its next candidate, or the request fails with the owner's name. */
  async #moveOn(attempts: Attempts, error: PortctlError): Promise<void> {
    if (error.code !== 'port-taken') throw error
    const { address, port, protocol } = error.details as { address: string; port: number; protocol: string }
    const attempt = [...attempts.values()].find(
      ({ claim }) =>
        claim.protocol === protocol &&
        claim.addresses.includes(address) &&
        claim.ports.first <= port &&
        port <= claim.ports.last,
    )
    // To find the owner, every process's descriptors are read: not for each candidate that is passed over.
    const named = async () => {
      const owner = await this.#parts.ownerOf(protocol, address, port)
      const details = { address, port, protocol, ...(owner === undefined ? {} : { owner }) }
      return PortctlError.of('port-taken', details, { cause: error })
    }
    if (attempt === undefined) throw await named()
    this.#parts.book.release(attempt.id)
    const outcome = this.#claim(attempt)
    if (outcome.claim === undefined)
      throw this.#exhausted(attempt.draft, this.#taken(attempts, outcome.conflict) ?? (await named()))
    attempt.claim = outcome.claim
  }
}

export const flowsOf = (p: Publication): FlowTuple => ({
  protocol: p.protocol,
  hostIps: p.hostIps,
  ports: { first: p.hostPort, last: p.hostPortEnd },
})

const toPublication = ({ id, draft, claim }: Attempt, request: Publish, name: string | null): Publication => {
  const { first, last } = claim.ports
  const publication: Publication = {
    id,
    name,
    protocol: draft.protocol,
    hostIps: draft.hostIps,
    hostPort: first,
    hostPortEnd: last,
    target: request.target,
    targetPort: draft.targetPorts.first,
    targetPortEnd: draft.targetPorts.last,
    via: request.via,
    ...(request.held ? { held: true } : {}),
  }
  refuseLoop(publication)
  return publication
}

/** A publication that leads to its own listener would call itself for ever. */
const refuseLoop = (p: Publication): void => {
  if (p.hostPort > p.targetPortEnd || p.targetPort > p.hostPortEnd) return
  const heard = addressesHere(p.target).find(
    address =>
      p.hostIps.includes(address) || (isLocal(address) && p.hostIps.includes(wildcard(familyOf(address)))),
  )
  if (heard !== undefined) throw PortctlError.of('target-loop', { target: heard, port: p.targetPort })
}

/** Where the target may be on this host: another network's loopback is not. */
const addressesHere = (target: Target): readonly string[] => {
  switch (target.kind) {
    case 'container':
      return []
    case 'address':
      return [target.address]
    case 'pid':
      return isOwnNamespace(netnsOfPid(target.pid)) ? LOOPBACK : []
    case 'netns':
      return isOwnNamespace(target.path) ? LOOPBACK : []
    default:
      return target satisfies never
  }
}

const LOOPBACK = ['127.0.0.1', '::1']

const isLocal = (address: string): boolean =>
  isLoopback(address) ||
  Object.values(networkInterfaces()).some(list => list?.some(entry => entry.address === address))
