/** What the path tests share: a daemon in a laboratory, containers that say who called them, and one way to call. */

import { type Greeting, serverCommand } from '../lab/agent.ts'
import type { Lab, Where } from '../lab/lab.ts'
import { waitFor } from '../lab/lab.ts'
import { createInstance, type Instance } from '../lab/portctl.ts'

export interface Called {
  /** Name of the server that answered. */
  readonly name: string
  /** The caller's address as the server saw it. */
  readonly client: string
  /** UDP: the address the answer came from. */
  readonly from: string | undefined
}

const plain = (address: string): string => address.replace(/^::ffff:/, '')

/** Calls a `who` (TCP) or `udp` server. Rejects with ECONNREFUSED, ECONNRESET, ETIMEDOUT, …; a reset before the greeting is one too. */
export const call = async (
  lab: Lab,
  where: Where,
  host: string,
  port: number,
  protocol: 'tcp' | 'udp' = 'tcp',
  timeout = 1_500,
): Promise<Called> => {
  const { reply, peer } = await lab.ask(where, { protocol, host, port, payload: 'x', timeout })
  const line = reply.split('\n')[0] ?? ''
  if (line === '') throw Object.assign(new Error('closed without a greeting'), { code: 'CLOSED' })
  const greeting = JSON.parse(line) as Greeting
  return { name: greeting.name, client: plain(greeting.peer.address), from: peer && plain(peer.address) }
}

interface ContainerView {
  readonly name: string
  readonly netns: string
  readonly networks: {
    readonly bridge?: { readonly ipv4: string; readonly ipv6: string; readonly gateway: string }
  }
}

export interface Box {
  readonly name: string
  readonly netns: string
  readonly ipv4: string
  readonly ipv6: string
  readonly gateway: string
}

const bare = (cidr: string | undefined): string => (cidr ?? '').replace(/\/.*/, '')

/** A container that greets on TCP and UDP port 80 of every address, and on port 81 of its loopback only. */
export const startBox = async (lab: Lab, portctl: Instance, label: string): Promise<Box> => {
  const name = portctl.name(label)
  const servers = serverCommand(
    ...(['0.0.0.0', '::'] as const).flatMap(host => [
      { kind: 'who' as const, host, port: 80, name: label },
      { kind: 'udp' as const, host, port: 80, name: label },
    ]),
    { kind: 'who', host: '127.0.0.1', port: 81, name: `${label}-private` },
    { kind: 'udp', host: '127.0.0.1', port: 81, name: `${label}-private` },
  )
  await portctl.ok('run', '-d', '--name', name, '--', ...servers)
  const view = (await portctl.json<ContainerView[]>('ps')).find(c => c.name === name) as ContainerView
  const { ipv4, ipv6, gateway } = view.networks.bridge ?? { ipv4: '', ipv6: '', gateway: '' }
  const box = { name, netns: view.netns, ipv4: bare(ipv4), ipv6: bare(ipv6), gateway }
  await waitFor(`${name} to serve`, () =>
    lab
      .ask(box.netns, { protocol: 'tcp', host: '127.0.0.1', port: 81 })
      .then(() => true)
      .catch(() => false),
  )
  return box
}

export { createInstance, type Instance }
