/** An environment in memory: what a verb prints, and a daemon that remembers what it was asked. */
import type { ApiClient } from '../../src/api/client.ts'
import type { ContainerDetail, PublicationView, StatusView } from '../../src/api/views.ts'
import { describeFailure, exitStatus } from '../../src/cli/failure.ts'
import type { LaunchOptions } from '../../src/cli/launch.ts'
import { parseCommandLine } from '../../src/cli/parse.ts'
import { PortctlError } from '../../src/core/errors.ts'

export const publication = (fields: Partial<PublicationView> = {}): PublicationView => ({
  id: '3f9c1a2b4d5e',
  name: null,
  protocol: 'tcp',
  hostIps: ['0.0.0.0', '::'],
  hostPort: 8080,
  hostPortEnd: 8080,
  container: 'web',
  target: '172.18.0.2',
  targetPort: 80,
  targetPortEnd: 80,
  via: 'kernel',
  state: 'active',
  connections: { active: 2, total: 15 },
  bytes: { in: 1234, out: 5_600_000 },
  ...fields,
})

export const container = (fields: Partial<ContainerDetail> = {}): ContainerDetail => ({
  name: 'web',
  id: '0123456789ab',
  pid: 4711,
  netns: '/run/netns/web',
  status: 'running',
  networks: {
    bridge: { ipv4: '172.18.0.2/16', ipv6: 'fd00::2/64', mac: '02:42:ac:12:00:02', gateway: '172.18.0.1' },
  },
  ports: ['0.0.0.0:8080->80/tcp', '[::]:8080->80/tcp'],
  command: ['node', 'server.js'],
  exitCode: null,
  autoRemove: false,
  resolvConf: '/run/portctl/resolv/web',
  logFile: null,
  ...fields,
})

const STATUS: StatusView = {
  version: '0.1.0',
  pid: 100,
  relayPid: 101,
  uptimeSeconds: 3725,
  runDir: '/run/portctl',
  stateDir: '/var/lib/portctl',
  publications: 1,
  containers: 1,
  networks: 1,
}

interface Call {
  readonly method: string
  readonly args: readonly unknown[]
}

export interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  readonly calls: readonly Call[]
}

export interface Situation {
  readonly service?: Partial<ApiClient>
  /** No daemon answers, and `version` may not start one. */
  readonly noDaemon?: boolean
  readonly launch?: (options: LaunchOptions) => Promise<number>
  readonly interrupted?: () => Promise<NodeJS.Signals>
  readonly variables?: NodeJS.ProcessEnv
  readonly distDir?: string
}

const missing = (name: string): Promise<never> =>
  Promise.reject(PortctlError.of('container-not-found', { name, known: 'web' }))

/** Answers for one container `web` with one publication. */
const standard: ApiClient = {
  status: async () => STATUS,
  listPublications: async () => [publication()],
  publish: async () => ({ publications: [publication()], notes: ['a note'] }),
  unpublish: async () => ({ publications: [publication()] }),
  listContainers: async () => [container()],
  run: async () => ({ container: container(), publications: [publication()], notes: [] }),
  container: async name => (name === 'web' ? container() : missing(name)),
  started: async () => container(),
  exited: async () => undefined,
  stop: async name => (name === 'web' ? container({ status: 'exited', pid: null }) : missing(name)),
  remove: async name => (name === 'web' ? undefined : missing(name)),
  inspect: async () => ({ kind: 'container', ...container() }),
  hold: async () => ({ ended: new Promise(() => undefined), release: () => undefined }),
}

/** Runs `portctl ARGS…` as main.ts does, against the situation. */
export const portctl = async (args: readonly string[], situation: Situation = {}): Promise<Outcome> => {
  const calls: Call[] = []
  const recorder = Object.fromEntries(
    Object.entries({ ...standard, ...situation.service }).map(([method, answer]) => [
      method,
      (...args: readonly unknown[]) => {
        calls.push({ method, args })
        return (answer as (...a: readonly unknown[]) => unknown)(...args)
      },
    ]),
  ) as unknown as ApiClient
  const out: string[] = []
  const err: string[] = []
  const outcome = (status: number): Outcome => ({ status, stdout: out.join(''), stderr: err.join(''), calls })
  const unreachable = PortctlError.of('daemon-unreachable', {
    socket: '/run/portctl/portctl.sock',
    why: 'no such socket',
  })
  try {
    const run = await parseCommandLine(args, { out: text => out.push(text) })
    const status =
      (await run?.(({ json, quiet }) => ({
        json,
        quiet,
        print: text => {
          out.push(`${text}\n`)
        },
        note: text => {
          if (!quiet) err.push(`${text}\n`)
        },
        heading: text => text,
        daemon: async () => recorder,
        runningDaemon: () =>
          situation.noDaemon ? { ...standard, status: () => Promise.reject(unreachable) } : recorder,
        launch: situation.launch ?? (() => Promise.reject(new Error('nothing to launch'))),
        interrupted: situation.interrupted ?? (() => new Promise(() => undefined)),
        variables: situation.variables ?? { PATH: process.env.PATH, HOME: '/root', GONE: undefined },
        cwd: '/',
        directories: {
          runDir: '/run/portctl',
          stateDir: '/var/lib/portctl',
          distDir: situation.distDir ?? '/nowhere',
        },
      }))) ?? 0
    return outcome(status)
  } catch (error) {
    err.push(`${describeFailure(error, false)}\n`)
    return outcome(exitStatus(error))
  }
}
