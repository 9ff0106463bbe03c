/**
 * Publishing and taking back.
 *
 * A publish is all or nothing over its specifications: every draft claims its ports in the book, one transaction
 * makes them all, and a port that turns out to be held by somebody else either moves its draft to the next
 * candidate (ranges, ephemeral ports) or fails the request with the owner's name.
 */
import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { familyOf, isLoopback, wildcard } from '../core/address.ts'
import { asPortctlError, PortctlError } from '../core/errors.ts'
import { parseName } from '../core/name.ts'
import type { Publication, Target, Via } from '../model/index.ts'
import type { Committer, FlowTuple, Transaction } from './committer.ts'
import type { Claim, PortBook } from './port-book.ts'
import { candidates, type Draft, draftsOf, type EphemeralPorts } from './request.ts'
import { type Route, routeOf, type Surroundings } from './route.ts'

export interface PublisherParts {
  readonly book: PortBook
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

export const newId = (): string => randomBytes(6).toString('hex')

export class Publisher {
  readonly #parts: PublisherParts

  constructor(parts: PublisherParts) {
    this.#parts = parts
  }

  /** @throws `spec-invalid`, `port-taken`, `target-loop`, `via-unavailable`, and what the relay and nft report. */
  async publish(request: Publish): Promise<readonly Publication[]> {
    const { book, committer, ephemeral, families } = this.#parts
    const name = request.name === null ? null : parseName(request.name)
    if (name !== null && [...this.#parts.publications().values()].some(p => p.name === name))
      throw PortctlError.of('name-taken', { name, owner: 'a publication' })
    const attempts: Attempt[] = []
    try {
      for (const draft of draftsOf(request.specs, families)) {
        const ports = candidates(draft, ephemeral)
        const id = newId()
        attempts.push({ id, draft, ports, claim: await this.#claim(id, draft, ports) })
      }
      for (;;) {
        const publications = attempts.map(attempt => toPublication(attempt, request, name))
        try {
          await committer.submit(this.#additions(publications))
          return publications
        } catch (error) {
          await this.#moveOn(attempts, asPortctlError(error))
        }
      }
    } catch (error) {
      for (const { id } of attempts) book.release(id)
      throw error
    }
  }

  /** Takes publications back, at once: live connections end. */
  async unpublish(publications: readonly Publication[]): Promise<void> {
    await this.#parts.committer.submit(this.removals(publications))
    this.forget(publications)
  }

  /** What takes publications back, for a larger transaction; call `forget` when it is through. */
  removals(publications: readonly Publication[]): Transaction {
    const routes = publications.map(p => this.#route(p))
    return {
      open: [],
      operations: routes.flatMap(({ forward }) =>
        forward === null ? [] : [{ op: 'remove-forward' as const, forward }],
      ),
      changes: publications.map(({ id }) => ({ delete: 'publications' as const, id })),
      close: publications.map(({ id }) => id),
      flush: publications.map(flowsOf),
    }
  }

  forget(publications: readonly Publication[]): void {
    for (const { id } of publications) this.#parts.book.release(id)
  }

  #additions(publications: readonly Publication[]): Transaction {
    const routes = publications.map(p => this.#route(p))
    return {
      open: routes.flatMap(({ service }) => (service === null ? [] : [service])),
      operations: routes.flatMap(({ forward }) =>
        forward === null ? [] : [{ op: 'add-forward' as const, forward }],
      ),
      changes: publications.map(p => ({ put: 'publications' as const, id: p.id, value: p })),
      close: [],
      flush: publications.map(flowsOf),
    }
  }

  #route(publication: Publication): Route {
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

  /** Claims the first candidate that no publication of ours holds. */
  async #claim(id: string, draft: Draft, ports: Attempt['ports']): Promise<Claim> {
    let holder: Claim | undefined
    for (const range of ports) {
      const claim: Claim = { id, protocol: draft.protocol, addresses: draft.hostIps, ports: range }
      holder = this.#parts.book.conflict(claim)
      if (holder === undefined) {
        this.#parts.book.claim(claim)
        return claim
      }
    }
    throw PortctlError.of('port-taken', this.#conflict(draft, holder))
  }

  #conflict(draft: Draft, holder: Claim | undefined) {
    const port = Math.max(draft.hostPorts?.first ?? 0, holder?.ports.first ?? 0)
    const held = holder === undefined ? undefined : this.#parts.publications().get(holder.id)
    const container = held === undefined ? undefined : routeOf(held, this.#parts.surroundings()).container
    const owner =
      holder === undefined
        ? undefined
        : `publication ${holder.id}${container ? ` of container ${container.name}` : ''}`
    return {
      address: draft.hostIps[0] ?? '0.0.0.0',
      port,
      protocol: draft.protocol,
      ...(owner === undefined ? {} : { owner }),
    }
  }

  /** After a bind conflict: the draft that ran into it takes its next candidate, or the request fails with the owner's name. */
  async #moveOn(attempts: Attempt[], error: PortctlError): Promise<void> {
    if (error.code !== 'port-taken') throw error
    const { address, port, protocol } = error.details as { address: string; port: number; protocol: string }
    const attempt = attempts.find(
      ({ claim }) =>
        claim.protocol === protocol &&
        claim.addresses.includes(address) &&
        claim.ports.first <= port &&
        port <= claim.ports.last,
    )
    const owner = await this.#parts.ownerOf(protocol, address, port)
    const named = PortctlError.of(
      'port-taken',
      { address, port, protocol, ...(owner === undefined ? {} : { owner }) },
      { cause: error },
    )
    if (attempt === undefined || attempt.draft.pick === 'one-to-one') throw named
    this.#parts.book.release(attempt.id)
    try {
      attempt.claim = await this.#claim(attempt.id, attempt.draft, attempt.ports)
    } catch {
      // Out of candidates: the last owner seen says more than a general refusal.
      throw named
    }
  }
}

const flowsOf = (p: Publication): FlowTuple => ({
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
  if (p.target.kind !== 'address') return
  const { address } = p.target
  const heard =
    p.hostIps.includes(address) || (isLocal(address) && p.hostIps.includes(wildcard(familyOf(address))))
  if (heard && p.hostPort <= p.targetPortEnd && p.targetPort <= p.hostPortEnd)
    throw PortctlError.of('target-loop', { target: address, port: p.targetPort })
}

const isLocal = (address: string): boolean =>
  isLoopback(address) ||
  Object.values(networkInterfaces()).some(list => list?.some(entry => entry.address === address))
