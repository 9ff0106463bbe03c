/**
 * Forwarding on our account only: interface by interface, never the machine's own switch where it can be avoided.
 *
 * What decides is the interface a packet comes in by. IPv4: `net.ipv4.conf.IF.forwarding`. IPv6: since Linux 6.17
 * `net.ipv6.conf.IF.force_forwarding`; before it only `conf.all.forwarding` (net/ipv6/ip6_output.c, ip6_forward), which
 * also makes the host ignore router advertisements unless `accept_ra` is 2 — so that is raised first, and the host's
 * routes stay.
 *
 * An interface that forwarded already is not touched and not reported. The ones reported are those that would forward
 * other people's packets only because of us; the nftables table stops that (set `opened`). Changes are data, to
 * be stored before they are made and undone later; undoing leaves alone what somebody else has changed since.
 */
import type { Family } from '../core/address.ts'
import type { Setting, Sysctl } from './sysctl.ts'

export interface SysctlChange {
  readonly key: string
  readonly before: string
  readonly after: string
}

export interface Opening {
  /** In the order in which they are to be made. */
  readonly changes: readonly SysctlChange[]
  /** Interfaces that forward only because of these changes, by family. */
  readonly opened: Readonly<Record<Family, readonly string[]>>
}

const ALL4 = 'net/ipv4/ip_forward'
const ALL6 = 'net/ipv6/conf/all/forwarding'
const key4 = (name: string): string => `net/ipv4/conf/${name}/forwarding`
const key6 = (name: string): string => `net/ipv6/conf/${name}/force_forwarding`
const acceptRa = (name: string): string => `net/ipv6/conf/${name}/accept_ra`

interface Wanted {
  readonly changes: readonly SysctlChange[]
  readonly opened: readonly string[]
}
const NOTHING: Wanted = { changes: [], opened: [] }

/** Those of the interfaces on which a key has this value; one that has gone meanwhile is left out. */
const having = async (
  sysctl: Sysctl,
  interfaces: readonly string[],
  key: (name: string) => string,
  value: string,
): Promise<readonly string[]> => {
  const values = await Promise.all(interfaces.map(name => sysctl.read(key(name))))
  return interfaces.filter((_, i) => values[i] === value)
}

const each = async (
  sysctl: Sysctl,
  interfaces: readonly string[],
  key: (name: string) => string,
): Promise<Wanted> => {
  const opened = await having(sysctl, interfaces, key, '0')
  return { opened, changes: opened.map(name => ({ key: key(name), before: '0', after: '1' })) }
}

const wanted4 = async (sysctl: Sysctl, interfaces: readonly string[]): Promise<Wanted> =>
  (await sysctl.read(ALL4)) === '1' ? NOTHING : each(sysctl, interfaces, key4)

const wanted6 = async (sysctl: Sysctl, interfaces: readonly string[]): Promise<Wanted> => {
  // null: a kernel without IPv6.
  if ((await sysctl.read(ALL6)) !== '0') return NOTHING
  if ((await sysctl.read(key6('all'))) !== null) return each(sysctl, interfaces, key6)
  const advertised = await having(sysctl, interfaces, acceptRa, '1')
  const raised = advertised.map(name => ({ key: acceptRa(name), before: '1', after: '2' }))
  return { opened: interfaces, changes: [...raised, { key: ALL6, before: '0', after: '1' }] }
}

/** What it takes to forward packets that come in by these interfaces. Nothing is changed yet. */
export const planForwarding = async (sysctl: Sysctl, interfaces: readonly string[]): Promise<Opening> => {
  const [four, six] = await Promise.all([wanted4(sysctl, interfaces), wanted6(sysctl, interfaces)])
  return { changes: [...four.changes, ...six.changes], opened: { 4: four.opened, 6: six.opened } }
}

/** Makes the changes of a plan. All or nothing. */
export const applyForwarding = async (sysctl: Sysctl, changes: readonly SysctlChange[]): Promise<void> => {
  try {
    await sysctl.write(changes.map(({ key, after }) => ({ key, value: after })))
  } catch (error) {
    await restoreForwarding(sysctl, changes)
    throw error
  }
}

/** Undoes what is still as we left it; what was changed since, or has gone, is passed over. */
export const restoreForwarding = async (sysctl: Sysctl, changes: readonly SysctlChange[]): Promise<void> => {
  const undo: Setting[] = []
  for (const { key, before, after } of changes.toReversed())
    if ((await sysctl.read(key)) === after) undo.push({ key, value: before })
  await sysctl.write(undo)
}
