/** An instance of portctl as a user gets it: its own daemon in a host namespace, driven through the command line. */
import { join } from 'node:path'
import { type ApiClient, connect } from '../../src/api/client.ts'
import { paths } from './paths.ts'
import { type Netns, run, start, until } from './process.ts'
import { tune } from './world.ts'

export interface Instance {
  readonly name: string
  readonly host: Netns
  readonly env: Readonly<Record<string, string>>
  readonly portctl: (...args: readonly string[]) => Promise<string>
  readonly api: ApiClient
  /** Control and relay. */
  readonly pids: () => Promise<readonly number[]>
  readonly relayPids: () => Promise<readonly number[]>
}

/**
 * Starts the daemon of a built checkout and waits until it answers. `name` keeps the directories of instances apart,
 * `flags` are the daemon's.
 */
export const startInstance = async (
  host: Netns,
  name: string,
  flags: readonly string[] = [],
  checkout: string = paths.root,
): Promise<Instance> => {
  const program = join(checkout, 'bin/portctl')
  const env = {
    PORTCTL_RUN_DIR: join('/run/portctl', name),
    PORTCTL_STATE_DIR: join(paths.work, `state-${name}`),
  }
  const portctl = (...args: readonly string[]): Promise<string> =>
    run(host, [program, ...args], { env, timeout: 120_000 })
  await run(null, ['mkdir', '-p', env.PORTCTL_RUN_DIR])
  start(host, [program, 'daemon', ...flags], { env })
  const api = connect({ runDir: env.PORTCTL_RUN_DIR })
  const answers = (): Promise<boolean> =>
    api.status().then(
      () => true,
      () => false,
    )
  await until('portctl daemon', answers)
  const relayPids = async (): Promise<readonly number[]> => {
    const { relayPid } = await api.status()
    return relayPid === null ? [] : [relayPid]
  }
  return {
    name,
    host,
    env,
    portctl,
    api,
    pids: async () => [(await api.status()).pid, ...(await relayPids())],
    relayPids,
  }
}

export interface Wired {
  readonly netns: Netns
  readonly target: { readonly 4: string; readonly 6: string }
}

/** A container that does nothing; what answers in it is started by entering its namespace. */
export const runContainer = async (instance: Instance): Promise<Wired> => {
  // Instances share /run/netns, in which a container's namespace bears its name.
  const name = `backend-${instance.name}`
  await instance.portctl('run', '-d', '--name', name, '--', 'sleep', 'infinity')
  const container = await instance.api.container(name)
  const [wired] = Object.values(container.networks)
  const address = (cidr: string | null | undefined): string => cidr?.split('/')[0] ?? ''
  const netns = { path: container.netns }
  await tune(netns)
  return { netns, target: { 4: address(wired?.ipv4), 6: address(wired?.ipv6) } }
}
