/** How the daemon's parts are put together. The relay is on its way; nothing else is changed before `restore.ts` puts the stored state in force. */

import { asPortctlError, type PortctlError } from '../core/errors.ts'
import { createKernel, type Kernel } from '../kernel/index.ts'
import { type Resolver, readHostResolver } from '../kernel/resolv.ts'
import { localPortRange, reservedPorts } from '../kernel/sockets.ts'
import { invert } from '../plan/operations.ts'
import { Committer, NOTHING } from './committer.ts'
import { Containers } from './containers.ts'
import { desiredServices, surroundings } from './desired.ts'
import { Ipv4Only } from './ipv4-only.ts'
import type { Logger } from './logging.ts'
import type { DaemonOptions } from './main.ts'
import { Networks } from './networks.ts'
import { PortBook } from './port-book.ts'
import { ownerOf } from './port-owner.ts'
import { Publisher } from './publisher.ts'
import { RelaySupervisor } from './relay-supervisor.ts'
import type { EphemeralPorts } from './request.ts'
import type { Store } from './store.ts'
import { Table } from './table.ts'

export interface ControlOptions extends DaemonOptions {
  readonly store: Store
  readonly log: Logger
}

export interface Parts {
  readonly options: ControlOptions
  readonly store: Store
  readonly log: Logger
  readonly kernel: Kernel
  readonly resolver: Resolver
  readonly relay: RelaySupervisor
  readonly table: Table
  /** Why nftables can't be used here; null when it can. */
  readonly noKernelPath: PortctlError | null
  readonly book: PortBook
  readonly ipv4Only: Ipv4Only
  readonly committer: Committer
  readonly publisher: Publisher
  readonly networks: Networks
  readonly containers: Containers
}

export const assemble = async (options: ControlOptions): Promise<Parts> => {
  const { store, log, runDir, stateDir, distDir, engine, workers } = options
  const kernel = createKernel()
  const relay = RelaySupervisor.start({
    runDir,
    distDir,
    ...(engine === undefined ? {} : { engine }),
    ...(workers === undefined ? {} : { workers }),
    logFd: 2,
    log,
    desired: () => desiredServices(store, kernelPath, resolver, ipv4Only),
    alone: work => {
      const plan = async () => {
        await work()
        return NOTHING
      }
      return committer.submit(plan, { alone: true })
    },
  })
  const [resolver, noKernelPath, ephemeral, families] = await Promise.all([
    readHostResolver(),
    kernel.nft.probe().then(() => null, asPortctlError),
    ephemeralPorts(kernel),
    addressFamilies(kernel),
  ]).catch(async error => {
    await relay.abandon()
    throw error
  })
  const kernelPath = noKernelPath === null
  const ipv4Only = new Ipv4Only()
  const table = new Table(kernel.nft)
  const book = new PortBook()
  const committer = new Committer({
    openServices: services => relay.open(services),
    closeServices: ids => relay.close(ids),
    applyRules: operations => table.apply(operations),
    invert,
    commit: changes => store.commit(changes),
    flushFlows: async selectors => {
      const outcome = kernelPath ? await kernel.conntrack.flush(selectors) : { flushed: 0 }
      if ('skipped' in outcome) log.warn({ code: outcome.skipped.code }, outcome.skipped.message)
    },
    warn: (what, err) => log.warn({ err }, what),
  })
  const publisher = new Publisher({
    book,
    ipv4Only,
    committer,
    surroundings: () => surroundings(store, kernelPath, ipv4Only),
    publications: () => store.state.publications,
    ephemeral,
    families,
    ownerOf,
  })
  const networks = new Networks({ store, committer, kernel, resolver, families, kernelPath, log })
  const containers = new Containers({
    store,
    committer,
    kernel,
    networks,
    publisher,
    resolver,
    runDir,
    stateDir,
    log,
  })
  return {
    options,
    store,
    log,
    kernel,
    resolver,
    relay,
    table,
    noKernelPath,
    book,
    ipv4Only,
    committer,
    publisher,
    networks,
    containers,
  }
}

const ephemeralPorts = async ({ sysctl }: Kernel): Promise<EphemeralPorts> => {
  const range = await localPortRange(sysctl)
  const reserved = new Set<number>()
  for (const { first, last } of await reservedPorts(sysctl))
    for (let port = first; port <= last; port++) reserved.add(port)
  return { range, reserved, cursor: range.first }
}

/** Without IPv6: turned off by the administrator, or a kernel without it, which has no such key. */
const addressFamilies = async ({ sysctl }: Kernel): Promise<readonly (4 | 6)[]> =>
  (await sysctl.read('net/ipv6/conf/all/disable_ipv6')) === '0' ? [4, 6] : [4]
