/** An instance of portctl as a user gets it: its own daemon in a host namespace, driven through the command line. */
import { join } from 'node:path'
import type { ContainerView, PublicationView, StatusView } from '../../src/api/views.ts'
import { paths } from './paths.ts'
import { type Netns, run, start, until } from './process.ts'
import { tune } from './world.ts'

export interface Instance {
  readonly host: Netns
  readonly env: Readonly<Record<string, string>>
  readonly socket: string
  readonly portctl: (...args: readonly string[]) => Promise<string>
  readonly publications: () => Promise<readonly PublicationView[]>
  readonly status: () => Promise<StatusView>
  /** Control and relay. */
  readonly pids: () => Promise<readonly number[]>
}

/** Starts the daemon and waits until it answers. `name` keeps the directories of instances apart. */
export const startInstance = async (host: Netns, name: string): Promise<Instance> => {
  const env = {
    PORTCTL_RUN_DIR: join('/run/portctl', name),
    PORTCTL_STATE_DIR: join(paths.work, `state-${name}`),
  }
  const portctl = (...args: readonly string[]): Promise<string> =>
    run(host, [paths.portctl, ...args], { env, timeout: 120_000 })
  await run(null, ['mkdir', '-p', env.PORTCTL_RUN_DIR])
  start(host, [paths.portctl, 'daemon'], { env })
  const socket = join(env.PORTCTL_RUN_DIR, 'portctl.sock')
  const answers = async () => (await run(host, ['ss', '-Hxl', `src = ${socket}`])) !== ''
  await until('portctl daemon', answers)
  const status = async () => JSON.parse(await portctl('status', '--json')) as StatusView
  return {
    host,
    env,
    socket,
    portctl,
    publications: async () => JSON.parse(await portctl('ls', '--json')) as PublicationView[],
    status,
    pids: async () => {
      const { pid, relayPid } = await status()
      return relayPid === null ? [pid] : [pid, relayPid]
    },
  }
}

export interface Wired {
  readonly netns: Netns
  readonly target: { readonly 4: string; readonly 6: string }
}

/** A container that does nothing; what answers in it is started by entering its namespace. */
export const runContainer = async (instance: Instance, name: string): Promise<Wired> => {
  await instance.portctl('run', '-d', '--name', name, '--', 'sleep', 'infinity')
  const all = JSON.parse(await instance.portctl('ps', '--json')) as ContainerView[]
  const container = all.find(c => c.name === name)
  const [wired] = Object.values(container?.networks ?? {})
  const address = (cidr: string | null | undefined): string => cidr?.split('/')[0] ?? ''
  if (container === undefined || wired === undefined) throw new Error(`portctl ps does not show ${name}`)
  const netns = { path: container.netns }
  await tune(netns)
  return { netns, target: { 4: address(wired.ipv4), 6: address(wired.ipv6) } }
}
