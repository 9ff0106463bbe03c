/**
 * Containers: a named network namespace on a network, and the command in it.
 *
 * Life cycle: created → running → exited; `rm` (or the end, with autoRemove) takes the namespace, the veth pair,
 * the addresses and every publication that leads to it. `stop` ends only the processes.
 *
 * Crash safety: before the first kernel object is made, its names are written to the store as *pending*; the
 * record replaces the note when all is there, and on removal the other way round. A daemon that finds a note at
 * its start removes what it names: a container is either acknowledged and whole, or gone.
 *
 * A detached command is started here. One in the foreground is started by the client, which tells its pid
 * (`started`) and status (`exited`); should the client be killed, the watch on the pid finds the end.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { RunRequest } from '../api/views.ts'
import { PortctlError } from '../core/errors.ts'
import { findExecutable } from '../core/executable.ts'
import { parseName } from '../core/name.ts'
import type { Kernel } from '../kernel/index.ts'
import { netnsIdentity, netnsPath } from '../kernel/netns.ts'
import type { Resolver } from '../kernel/resolv.ts'
import type { Container, Endpoint, Network, Publication } from '../model/index.ts'
import { type Committer, NOTHING, type Transaction } from './committer.ts'
import { ContainerAddresses } from './container-addresses.ts'
import { endProcess, isAlive, killInside, startProcess, startTimeOf } from './container-process.ts'
import { resolvConfOf, unwire, wire, wiringOf } from './container-wiring.ts'
import { DEFAULT_NETWORK, type Networks } from './networks.ts'
import { dropPending, notePending, pendingWirings, type Wiring } from './notes.ts'
import { newId, type Publisher } from './publisher.ts'
import type { Store } from './store.ts'

export interface ContainerParts {
  readonly store: Store
  readonly committer: Committer
  readonly kernel: Kernel
  readonly networks: Networks
  readonly publisher: Publisher
  readonly resolver: Resolver
  readonly runDir: string
  readonly stateDir: string
  readonly log: Logger
}

const SHORTEST_PREFIX = 4
/** Milliseconds between two looks at a process that is not our child. */
const WATCH_INTERVAL = 250
/** Seconds between SIGTERM and SIGKILL. */
export const STOP_TIMEOUT = 10

export class Containers {
  readonly #parts: ContainerParts
  readonly #addresses: ContainerAddresses
  /** Given to requests that are not through yet. */
  readonly #namesInFlight = new Set<string>()
  /** By id: commands that are our children, until their end is recorded. */
  readonly #children = new Map<string, Promise<void>>()
  /** By id: removals under way. */
  readonly #removals = new Map<string, Promise<void>>()
  #watch: NodeJS.Timeout | undefined

  constructor(parts: ContainerParts) {
    this.#parts = parts
    this.#addresses = new ContainerAddresses(() => parts.store.state.containers.values())
  }

  /** By name, id, or the first digits of an id. */
  find(ref: string): Container | undefined {
    const { containers } = this.#parts.store.state
    const all = [...containers.values()]
    return (
      all.find(c => c.name === ref) ??
      containers.get(ref) ??
      (ref.length >= SHORTEST_PREFIX ? all.find(c => c.id.startsWith(ref)) : undefined)
    )
  }

  /** @throws `container-not-found` */
  get(ref: string): Container {
    const found = this.find(ref)
    if (found !== undefined) return found
    const known = [...this.#parts.store.state.containers.values()].map(c => c.name).join(', ')
    throw PortctlError.of('container-not-found', { name: ref, known })
  }

  /** Output of a detached command; null when there is none. */
  logFileOf({ id }: Container): string | null {
    const file = this.#logFile(id)
    return existsSync(file) ? file : null
  }

  #logFile(id: string): string {
    return join(this.#parts.stateDir, 'containers', `${id}.log`)
  }

  /** Makes the container and publishes its ports; starts the command when it is detached. All or nothing. */
  async run(request: RunRequest): Promise<{ container: Container; publications: readonly Publication[] }> {
    if (process.geteuid?.() !== 0)
      throw PortctlError.of('not-permitted', {
        what: 'a container',
        needs: 'CAP_SYS_ADMIN and CAP_NET_ADMIN',
      })
    const command = request.detach ? locate(request) : request.command
    const { containers, networks } = this.#parts.store.state
    const first = networks.size === 0
    const id = newId()
    const name = this.#takeName(request.name ?? `c${id}`)
    const endpoints: Endpoint[] = []
    try {
      const network = await this.#network(request)
      if (network !== null) endpoints.push(this.#addresses.claim(id, network, request.ip))
      const container: Container = {
        id,
        name,
        netns: netnsPath(name),
        pid: null,
        pidStart: null,
        status: 'created',
        exitCode: null,
        command,
        autoRemove: request.autoRemove,
        endpoints,
      }
      await this.#make(container)
      try {
        const publications = await this.#publish(container, request.publish ?? [])
        return { container: request.detach ? await this.#start(container, request) : container, publications }
      } catch (error) {
        await this.#takeAway(id)
        throw error
      }
    } catch (error) {
      if (first)
        await this.#parts.networks.releaseDefault(
          () => containers.size === 0 && this.#namesInFlight.size === 1,
        )
      throw error
    } finally {
      this.#namesInFlight.delete(name)
      for (const endpoint of endpoints) this.#addresses.release(endpoint)
    }
  }

  async started(ref: string, pid: number): Promise<Container> {
    const pidStart = startTimeOf(pid)
    // It may have ended already; `exited` follows.
    const status = pidStart === null ? 'exited' : 'running'
    return this.#update(this.get(ref).id, now => ({ ...now, pid, pidStart, status }))
  }

  async exited(ref: string, exitCode: number | null): Promise<void> {
    const container = this.get(ref)
    if (container.autoRemove) return this.#takeAway(container.id)
    const end = { pid: null, pidStart: null, status: 'exited' } as const
    // Two may tell of one end, and only one of them know the status: it stays, whoever is first.
    await this.#update(container.id, now => ({ ...now, ...end, exitCode: now.exitCode ?? exitCode }))
  }

  /** SIGTERM to the command, then SIGKILL to it and to all that is left in the namespace. @param timeout seconds */
  async stop(ref: string, timeout: number): Promise<Container> {
    const { containers } = this.#parts.store.state
    const container = this.get(ref)
    const { id, pid, pidStart } = container
    const ended = pid === null || pidStart === null || (await endProcess({ pid, pidStart }, timeout))
    await killInside(container.name)
    if (ended) await this.#children.get(id)
    if (containers.get(id)?.status === 'running') await this.exited(id, null)
    return containers.get(id) ?? { ...container, pid: null, pidStart: null, status: 'exited' }
  }

  /** Removes it with every publication that leads to it. `force`: a running command is killed first. */
  async remove(ref: string, force: boolean): Promise<void> {
    const { id, name, status } = this.get(ref)
    if (status === 'running' && !force) throw PortctlError.of('container-running', { name })
    if (status === 'running') await this.stop(id, 0)
    await this.#takeAway(id)
  }

  /** Once, however many want it: `rm`, the end of a command with autoRemove, the end of the daemon. */
  #takeAway(id: string): Promise<void> {
    const underWay = this.#removals.get(id) ?? this.#unmake(id).finally(() => this.#removals.delete(id))
    this.#removals.set(id, underWay)
    return underWay
  }

  async #unmake(id: string): Promise<void> {
    const { store, committer, publisher } = this.#parts
    const container = store.state.containers.get(id)
    if (container === undefined) return
    const wiring = wiringOf(container)
    // Alone, so that it sees every publication made before it; one that comes after it is refused.
    const plan = (): Transaction => {
      const leading = [...store.state.publications.values()].filter(
        p => p.target.kind === 'container' && p.target.container === id,
      )
      const removals = publisher.removals(leading)
      return {
        ...removals,
        changes: [...removals.changes, { delete: 'containers', id }, notePending(wiring)],
      }
    }
    await committer.submit(plan, { alone: true })
    await this.#clear(wiring)
  }

  /** The kernel's share, the files, and last the note that they are there. */
  async #clear(wiring: Wiring): Promise<void> {
    const { store, kernel, runDir, log } = this.#parts
    await unwire(wiring, kernel, runDir, log)
    rmSync(this.#logFile(wiring.id), { force: true })
    await store.commit([dropPending(wiring.id)])
  }

  /** After a restart: clears what was half made, makes what is missing, and finds out which commands still run. */
  async restore(): Promise<void> {
    const { store, kernel, resolver, runDir, log } = this.#parts
    for (const wiring of pendingWirings(store)) {
      log.warn(
        { container: wiring.id, namespace: wiring.namespace },
        'clearing a container that was half made',
      )
      await this.#clear(wiring)
    }
    const containers = [...store.state.containers.values()]
    const links = containers.length === 0 ? [] : await kernel.links.list()
    for (const container of containers)
      await wire(container, store.state.networks, kernel, runDir, resolver, links).catch(err =>
        log.error({ err, container: container.name }, 'a container could not be put back on its network'),
      )
    await this.#look()
    this.#watch = setInterval(
      () => void this.#look().catch(err => log.error({ err }, 'watching containers')),
      WATCH_INTERVAL,
    )
    this.#watch.unref()
  }

  close(): void {
    clearInterval(this.#watch)
  }

  /** Ends and removes every container. */
  async removeAll(): Promise<void> {
    this.close()
    const remove = async ({ id }: Container): Promise<void> => {
      await this.stop(id, STOP_TIMEOUT)
      await this.#takeAway(id)
    }
    await Promise.all([...this.#parts.store.state.containers.values()].map(remove))
  }

  /** Notices the end of commands that are not our children. */
  async #look(): Promise<void> {
    for (const { id, status, pid, pidStart } of [...this.#parts.store.state.containers.values()])
      if (status === 'running' && !this.#children.has(id) && pid !== null && pidStart !== null)
        if (!isAlive({ pid, pidStart })) await this.exited(id, null)
  }

  #takeName(text: string): string {
    const name = parseName(text)
    const taken = [...this.#parts.store.state.containers.values()].some(c => c.name === name)
    if (taken || this.#namesInFlight.has(name))
      throw PortctlError.of('name-taken', { name, owner: 'another container' })
    this.#namesInFlight.add(name)
    return name
  }

  /** null: no network, only lo. */
  async #network({ network = DEFAULT_NETWORK, ip }: RunRequest): Promise<Network | null> {
    if (network === 'none' && ip !== undefined)
      throw PortctlError.of('address-out-of-range', {
        address: ip,
        pool: "network 'none'",
        why: 'it has no addresses',
      })
    if (network === 'none') return null
    if (network !== DEFAULT_NETWORK) throw PortctlError.of('network-not-found', { name: network })
    return this.#parts.networks.ensureDefault()
  }

  async #make(container: Container): Promise<void> {
    const { store, kernel, resolver, runDir } = this.#parts
    const { id } = container
    const wiring = wiringOf(container)
    // Before the note: a namespace that somebody else made must never be cleared away as ours.
    if ((await netnsIdentity(container.netns)) !== null)
      throw PortctlError.of('netns-exists', { name: container.name })
    await store.commit([notePending(wiring)])
    try {
      await wire(container, store.state.networks, kernel, runDir, resolver)
      await store.commit([{ put: 'containers', id, value: container }, dropPending(id)])
    } catch (error) {
      // Made by somebody else since we looked; it is the first thing to be made, so there is nothing of ours.
      const foreign = error instanceof PortctlError && error.code === 'netns-exists'
      await (foreign ? store.commit([dropPending(id)]) : this.#clear(wiring))
      throw error
    }
  }

  async #publish(container: Container, specs: readonly string[]): Promise<readonly Publication[]> {
    if (specs.length === 0) return []
    const target = { kind: 'container', container: container.id } as const
    return this.#parts.publisher.publish({ specs, target, name: null, via: 'auto', held: false })
  }

  async #start(container: Container, request: RunRequest): Promise<Container> {
    mkdirSync(join(this.#parts.stateDir, 'containers'), { recursive: true, mode: 0o700 })
    const { ended, ...process } = await startProcess({
      netns: container.netns,
      resolvConf: resolvConfOf(this.#parts.runDir, container.id),
      logFile: this.#logFile(container.id),
      command: container.command,
      env: request.env ?? {},
      cwd: request.cwd ?? '/',
    })
    this.#children.set(container.id, this.#attend(container.id, ended))
    try {
      return await this.#update(container.id, now => ({ ...now, ...process, status: 'running' }))
    } catch (error) {
      // Removed meanwhile, and its namespace perhaps taken by another: only what was started here is ended.
      await endProcess(process, 0)
      throw error
    }
  }

  /** Records the end of a child of ours. */
  async #attend(id: string, ended: Promise<number>): Promise<void> {
    const { store, log } = this.#parts
    try {
      const status = await ended
      log.info({ container: id, status }, 'container ended')
      if (store.state.containers.has(id)) await this.exited(id, status)
    } catch (err) {
      log.error({ err, container: id }, 'the end was not recorded')
    } finally {
      this.#children.delete(id)
    }
  }

  /** The record as it is when its turn comes: one that was removed meanwhile does not come back. */
  async #update(id: string, change: (now: Container) => Container): Promise<Container> {
    const { store, committer } = this.#parts
    let updated: Container | undefined
    await committer.submit(() => {
      const now = store.state.containers.get(id)
      if (now === undefined) throw PortctlError.of('container-not-found', { name: id, known: '' })
      updated = change(now)
      return { ...NOTHING, changes: [{ put: 'containers', id, value: updated }] }
    })
    return updated as unknown as Container
  }
}

/** A detached command with its file looked up as its caller's shell would: one that does not exist is refused here. */
const locate = ({ command: [file = '', ...args], env, cwd = '/' }: RunRequest): readonly string[] => [
  findExecutable(file, env?.PATH, cwd),
  ...args,
]
