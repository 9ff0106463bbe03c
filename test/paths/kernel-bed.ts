/**
 * The laboratory with what a daemon would have made in `host`: two bridge networks, three containers, forwarding by
 * interface, and the table loaded straight from the plan. Nothing listens in user space on the published ports.
 *
 *   lan … ── eth0 host ── portctl0 (172.30/16, fd00:30::/64) ── web, neighbour
 *                      └─ portctl1 (172.31/16, fd00:31::/64) ── stranger
 */
import { beforeAll, expect } from 'vitest'
import type { Family, Protocol } from '../../src/core/address.ts'
import { createNft, type Nft } from '../../src/kernel/nft.ts'
import { inNetns } from '../../src/kernel/process.ts'
import { type Desired, type Forward, NOTHING, type Operation } from '../../src/plan/index.ts'
import type { JsonObject } from '../../src/plan/nftables.ts'
import { readCounters, type Traffic } from '../../src/plan/observed.ts'
import { commands, replaceTable } from '../../src/plan/ruleset.ts'
import type { Greeting } from '../lab/agent.ts'
import { useLab } from '../lab/hooks.ts'
import type { Lab, Machine, Where } from '../lab/lab.ts'

export interface Container {
  readonly netns: string
  readonly 4: string
  readonly 6: string
}

const NETWORKS = [
  { bridge: 'portctl0', subnet4: '172.30.0.0/16', subnet6: 'fd00:30::/64' },
  { bridge: 'portctl1', subnet4: '172.31.0.0/16', subnet6: 'fd00:31::/64' },
] as const
export const GATEWAY = { 4: '172.30.0.1', 6: 'fd00:30::1' } as const

export const EMPTY: Desired = { ...NOTHING, networks: NETWORKS, opened: { 4: ['eth0'], 6: ['eth0'] } }

const connect = async (
  lab: Lab,
  label: string,
  network: (typeof NETWORKS)[number],
  number: number,
): Promise<Container> => {
  const netns = await lab.namespace(label)
  const [base4, base6] = [network.subnet4.replace('.0.0/16', '.0.'), network.subnet6.replace('/64', '')]
  const [v4, v6] = [`${base4}${number}`, `${base6}${number}`]
  const { host } = lab
  const ip = (where: Where, ...args: string[]) => lab.sh(where, 'ip', ...args)
  await ip(host, 'link', 'add', `v${label}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns)
  await ip(host, 'link', 'set', `v${label}`, 'master', network.bridge, 'up')
  // With br_netfilter a container's way to itself stays in the bridge, which by default never sends a frame back.
  await ip(host, 'link', 'set', `v${label}`, 'type', 'bridge_slave', 'hairpin', 'on')
  await ip(netns, 'addr', 'add', `${v4}/16`, 'dev', 'eth0')
  await ip(netns, 'addr', 'add', `${v6}/64`, 'dev', 'eth0', 'nodad')
  await ip(netns, 'link', 'set', 'eth0', 'up')
  await ip(netns, 'route', 'add', 'default', 'via', `${base4}1`)
  await ip(netns, 'route', 'add', '::/0', 'via', `${base6}1`)
  for (const address of ['0.0.0.0', '::'])
    for (const kind of ['who', 'udp'] as const)
      await lab.serve(netns, { kind, host: address, port: 80, name: label })
  return { netns, 4: v4, 6: v6 }
}

const makeBridge = async ({ host, sh }: Lab, { bridge, subnet4, subnet6 }: (typeof NETWORKS)[number]) => {
  const ip = (...args: string[]) => sh(host, 'ip', ...args)
  await ip('link', 'add', bridge, 'type', 'bridge')
  await ip('addr', 'add', subnet4.replace('.0/16', '.1/16'), 'dev', bridge)
  await ip('addr', 'add', subnet6.replace('::/', '::1/'), 'dev', bridge, 'nodad')
  await ip('link', 'set', bridge, 'up')
  await sh(host, 'sysctl', '-qw', `net.ipv4.conf.${bridge}.route_localnet=1`)
}

export interface Bed {
  readonly lab: Lab
  readonly host: Machine
  readonly lan: Machine
  readonly web: Container
  readonly neighbour: Container
  readonly stranger: Container
  readonly nft: Nft
  /** The whole table, in place of what was there. */
  load(desired: Desired): Promise<void>
  change(...operations: readonly Operation[]): Promise<void>
  /** Takes rules away by their comment, until the next load. */
  without(...comments: readonly string[]): Promise<void>
  /** Counts packets that match, at a hook and just before filters look at them; gives a function that tells how many. */
  watch(where: Where, hook: string, match: string): Promise<() => Promise<number>>
  listing(): Promise<readonly JsonObject[]>
  traffic(publication: string): Promise<Traffic>
  /** Who answers there; rejects as `Lab.ask` does. */
  visit(from: Where, address: string, port: number, protocol?: 'tcp' | 'udp'): Promise<Greeting>
}

/** The reason why a visit fails: `ETIMEDOUT`, `ECONNREFUSED`, …; `answered by NAME` when it does not. */
export const failure = async (visit: Promise<Greeting>): Promise<string> =>
  visit.then(
    ({ name }) => `answered by ${name}`,
    (error: { readonly code?: string }) => error.code ?? String(error),
  )

export const useBed = (lan: readonly string[] = ['lan']): (() => Bed) => {
  const lab = useLab({ lan })
  let bed: Bed | undefined
  beforeAll(async () => {
    bed = await makeBed(lab())
  })
  return () => {
    if (bed === undefined) throw new Error('the bed exists only inside tests and hooks')
    return bed
  }
}

const makeBed = async (lab: Lab): Promise<Bed> => {
  const { host, lan } = lab
  for (const network of NETWORKS) await makeBridge(lab, network)
  for (const name of ['eth0', 'portctl0', 'portctl1'])
    await lab.sh(
      host,
      'sysctl',
      '-qw',
      `net.ipv4.conf.${name}.forwarding=1`,
      `net.ipv6.conf.${name}.force_forwarding=1`,
    )
  const [web, neighbour, stranger] = [
    await connect(lab, 'web', NETWORKS[0], 2),
    await connect(lab, 'neighbour', NETWORKS[0], 3),
    await connect(lab, 'stranger', NETWORKS[1], 2),
  ]
  const nft = createNft(inNetns(host.path))
  const listing: Bed['listing'] = async () =>
    (await nft.listTable({ family: 'inet', table: 'portctl' })) ?? []

  return {
    lab,
    host,
    lan,
    web,
    neighbour,
    stranger,
    nft,
    load: desired => nft.apply(replaceTable(desired)),
    change: (...operations) => nft.apply(commands(operations)),
    without: async (...comments) => {
      const rules = (await listing()).flatMap(({ rule }) => (rule === undefined ? [] : [rule as JsonObject]))
      const found = rules.filter(({ comment }) => comments.includes(String(comment)))
      expect(found.map(({ comment }) => comment).sort()).toEqual([...comments].sort())
      for (const { chain, handle } of found)
        await lab.sh(
          host,
          'nft',
          'delete',
          'rule',
          'inet',
          'portctl',
          String(chain),
          'handle',
          String(handle),
        )
    },
    watch: async (where, hook, match) => {
      probes += 1
      const table = `probe${probes}`
      const script = `table inet ${table} {
        chain watch { type filter hook ${hook} priority -1; ${match} counter; }
      }\n`
      const { exitCode, stderr } = await lab.exec(where, 'nft', ['-f', '-'], { input: script })
      if (exitCode !== 0) throw new Error(stderr)
      return async () =>
        Number(/packets (\d+)/.exec(await lab.sh(where, 'nft', 'list', 'table', 'inet', table))?.[1])
    },
    listing,
    traffic: async publication => {
      const traffic = readCounters(await listing()).get(publication)
      if (traffic === undefined) throw new Error(`nothing counts for ${publication}`)
      return traffic
    },
    visit: async (from, address, port, protocol = 'tcp') => {
      const { reply } = await lab.ask(from, { protocol, host: address, port, payload: 'ping', timeout: 500 })
      return JSON.parse(reply.split('\n')[0] as string) as Greeting
    },
  }
}

let probes = 0
let serial = 0
/** A forward of every address to port 80 of a container, unless told otherwise. */
export const forward = (
  to: Container,
  port: number,
  rest: Partial<Omit<Forward, 'publication' | 'to'>> & { readonly families?: readonly Family[] } = {},
): Forward => {
  const { families = [4, 6], ...given } = rest
  serial += 1
  return {
    publication: serial.toString(16).padStart(12, '0'),
    protocol: 'tcp' satisfies Protocol,
    hostIps: ['0.0.0.0', '::'],
    ports: { first: port, last: port },
    toPorts: { first: 80, last: 80 },
    to: Object.fromEntries(families.map(family => [family, to[family]])),
    ...given,
  }
}

export const published = (...forwards: readonly Forward[]): Desired => ({ ...EMPTY, forwards })
