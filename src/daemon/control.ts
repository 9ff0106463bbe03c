/**
 * Control: the daemon's `Service`, and the place where its parts meet.
 *
 *   store      what was asked                     committer  how a change reaches the world
 *   publisher  publications                       containers namespaces and their commands
 *   networks   bridges, forwarding, DNS           table      the nftables table
 *   relay      the process that listens
 */
import { existsSync } from 'node:fs'
import type {
  ContainerDetail,
  ContainerView,
  ExitedRequest,
  InspectView,
  PublicationView,
  PublishRequest,
  PublishResponse,
  RunRequest,
  RunResponse,
  Service,
  StartedRequest,
  StatusView,
  StopRequest,
  TakenBack,
  UnpublishRequest,
  UnpublishResponse,
} from '../api/views.ts'
import { PortctlError } from '../core/errors.ts'
import { isRunning } from '../core/process-identity.ts'
import type { Container, Publication } from '../model/index.ts'
import { assemble, type ControlOptions, type Parts } from './assembly.ts'
import { resolvConfOf } from './container-wiring.ts'
import { STOP_TIMEOUT } from './containers.ts'
import { surroundings } from './desired.ts'
import { activeFlows } from './flows.ts'
import { findPublications, lookUpPublications } from './references.ts'
import { restore } from './restore.ts'
import { routeOf } from './route.ts'
import { resolveTarget } from './target.ts'
import { Upkeep } from './upkeep.ts'
import { type Counted, containerDetail, containerView, publicationView } from './views.ts'

/** Ports; a range as large as this is likely to cover much of ip_local_port_range. */
const LARGE_RANGE = 10_000

export class Control implements Service {
  readonly #parts: Parts
  readonly #startedAt = Date.now()
  readonly #upkeep: Upkeep

  private constructor(parts: Parts) {
    this.#parts = parts
    this.#upkeep = new Upkeep(parts)
  }

  /** Puts the stored state in force. */
  static async start(options: ControlOptions): Promise<Control> {
    const parts = await assemble(options)
    try {
      await restore(parts)
    } catch (error) {
      parts.containers.close()
      await parts.relay.abandon()
      throw error
    }
    return new Control(parts)
  }

  /**
   * `keep`: everything stays in force for the next daemon. Otherwise all that was made is taken back; what fails does not
   * keep the rest, and is thrown at the end.
   */
  async end({ keep }: { readonly keep: boolean }): Promise<void> {
    const { store, committer, publisher, containers, networks, table, relay, log } = this.#parts
    await this.#upkeep.stop()
    await committer.idle()
    if (keep) {
      containers.close()
      relay.leave()
      return
    }
    const failures: unknown[] = []
    for (const takeBack of [
      () => containers.removeAll(),
      () => publisher.unpublish([...store.state.publications.values()]),
      () => networks.removeAll(),
      () => table.remove(),
      () => relay.shutdown(),
    ])
      await takeBack().catch(err => {
        failures.push(err)
        log.error(
          { err },
          'not everything could be taken back; what is still recorded is for the next daemon',
        )
      })
    if (failures.length > 0) throw failures[0]
  }

  async status(): Promise<StatusView> {
    const { options, relay, store } = this.#parts
    return {
      version: options.version,
      pid: process.pid,
      relayPid: relay.pid,
      uptimeSeconds: Math.floor((Date.now() - this.#startedAt) / 1000),
      runDir: options.runDir,
      stateDir: options.stateDir,
      publications: store.state.publications.size,
      containers: store.state.containers.size,
      networks: store.state.networks.size,
    }
  }

  async listPublications(): Promise<readonly PublicationView[]> {
    return this.#views([...this.#parts.store.state.publications.values()])
  }

  async publish(request: PublishRequest): Promise<PublishResponse> {
    const { publisher, containers, store } = this.#parts
    const target = await resolveTarget(request.to, { containers, all: store.state.containers })
    const publications = await publisher.publish({
      specs: request.specs,
      target,
      name: request.name ?? null,
      via: request.via ?? 'auto',
      held: request.held ?? false,
    })
    return { publications: this.#uncounted(publications), notes: this.#notes(publications) }
  }

  async unpublish(request: UnpublishRequest): Promise<UnpublishResponse> {
    const { publisher, store } = this.#parts
    const all = store.state.publications
    const find = request.missingOk === true ? lookUpPublications : findPublications
    const found =
      request.all === true ? [...all.values()] : (request.refs ?? []).flatMap(ref => find(ref, all))
    const publications = [...new Set(found)]
    const views = this.#uncounted(publications).map(withoutCounters)
    await publisher.unpublish(publications)
    return { publications: views }
  }

  async listContainers(): Promise<readonly ContainerView[]> {
    const { store } = this.#parts
    return [...store.state.containers.values()].map(c =>
      containerView(c, store.state.networks, this.#leadingTo(c)),
    )
  }

  async run(request: RunRequest): Promise<RunResponse> {
    const { container, publications } = await this.#parts.containers.run(request)
    return {
      container: this.#detail(container),
      publications: this.#uncounted(publications),
      notes: this.#notes(publications),
    }
  }

  async container(name: string): Promise<ContainerDetail> {
    return this.#detail(this.#parts.containers.get(name))
  }

  async started(name: string, { pid }: StartedRequest): Promise<ContainerDetail> {
    return this.#detail(await this.#parts.containers.started(name, pid))
  }

  async exited(name: string, { exitCode }: ExitedRequest): Promise<void> {
    await this.#parts.containers.exited(name, exitCode)
  }

  async stop(name: string, { timeoutSeconds }: StopRequest): Promise<ContainerDetail> {
    return this.#detail(await this.#parts.containers.stop(name, timeoutSeconds ?? STOP_TIMEOUT))
  }

  async remove(name: string, force: boolean): Promise<void> {
    await this.#parts.containers.remove(name, force)
  }

  async inspect(ref: string): Promise<InspectView> {
    const { containers, store } = this.#parts
    const container = containers.find(ref)
    if (container !== undefined) return { kind: 'container', ...this.#detail(container) }
    const [view] = await this.#views(lookUpPublications(ref, store.state.publications).slice(0, 1))
    if (view === undefined) throw PortctlError.of('not-found', { ref })
    return { kind: 'publication', ...view }
  }

  #detail(container: Container): ContainerDetail {
    const { options, containers, store } = this.#parts
    return containerDetail(container, store.state.networks, this.#leadingTo(container), {
      resolvConf: resolvConfOf(options.runDir, container.id),
      logFile: containers.logFileOf(container),
    })
  }

  #leadingTo({ id }: Container): readonly Publication[] {
    return [...this.#parts.store.state.publications.values()].filter(
      p => p.target.kind === 'container' && p.target.container === id,
    )
  }

  /** Where nothing can have been counted yet, or nobody asks: reading counters costs as much as there are publications. */
  #uncounted(publications: readonly Publication[]): readonly PublicationView[] {
    return publications.map(p => this.#view(p, { relay: undefined, kernel: undefined, kernelActive: 0 }))
  }

  async #views(publications: readonly Publication[]): Promise<readonly PublicationView[]> {
    if (publications.length === 0) return []
    const { relay, table, kernel, noKernelPath, log } = this.#parts
    const kernelPath = noKernelPath === null
    const uncounted =
      <T>(otherwise: T) =>
      (err: unknown) => {
        log.warn({ err }, 'counters could not be read')
        return otherwise
      }
    const [relayed, translated, flows] = await Promise.all([
      relay.counters().catch(uncounted(new Map())),
      kernelPath ? table.traffic().catch(uncounted(new Map())) : new Map(),
      kernelPath ? kernel.conntrack.count().catch(uncounted(null)) : null,
    ])
    const active = activeFlows(publications, flows ?? [])
    return publications.map(p =>
      this.#view(p, {
        relay: relayed.get(p.id),
        kernel: translated.get(p.id),
        kernelActive: active.get(p.id) ?? 0,
      }),
    )
  }

  #view(publication: Publication, counted: Counted): PublicationView {
    const { store, noKernelPath, relay, ipv4Only } = this.#parts
    const route = routeOf(publication, surroundings(store, noKernelPath === null, ipv4Only))
    const failure = relay.failures.get(publication.id)
    const state = failure !== undefined ? failure.code : isGone(publication) ? 'target-gone' : 'active'
    return publicationView(publication, route, state, counted)
  }

  /** What the user should know about how it was done. */
  #notes(publications: readonly Publication[]): readonly string[] {
    const { noKernelPath } = this.#parts
    if (publications.length === 0) return []
    const notes: string[] = []
    if (noKernelPath !== null)
      notes.push(
        `the relay alone carries the traffic, and clients' addresses are not kept: ${noKernelPath.message}`,
      )
    for (const p of publications)
      if (p.hostPortEnd - p.hostPort >= LARGE_RANGE)
        notes.push(
          `${p.hostPort}-${p.hostPortEnd} takes ports that this host picks for its own outgoing connections (net.ipv4.ip_local_port_range)`,
        )
    return notes
  }
}

const withoutCounters = ({ connections: _connections, bytes: _bytes, ...rest }: PublicationView): TakenBack =>
  rest

const isGone = ({ target }: Publication): boolean =>
  (target.kind === 'pid' && !isRunning(target)) || (target.kind === 'netns' && !existsSync(target.path))
