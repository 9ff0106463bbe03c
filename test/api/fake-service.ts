import type {
  ContainerDetail,
  ContainerView,
  PublicationView,
  Service,
  StatusView,
} from '../../src/api/views.ts'

export const publication: PublicationView = {
  id: '0123456789ab',
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
  connections: { active: 0, total: 3 },
  bytes: { in: 10, out: 20 },
}

const containerView: ContainerView = {
  name: 'web',
  id: 'ba9876543210',
  pid: 42,
  netns: '/run/netns/web',
  status: 'running',
  networks: {
    bridge: { ipv4: '172.18.0.2/16', ipv6: null, mac: '02:42:ac:12:00:02', gateway: '172.18.0.1/16' },
  },
  ports: ['0.0.0.0:8080->80/tcp'],
}

export const detail: ContainerDetail = {
  ...containerView,
  command: ['sleep', '60'],
  exitCode: null,
  autoRemove: false,
  resolvConf: '/run/portctl/resolv/web',
  logFile: null,
}

export const status: StatusView = {
  version: '0.0.0',
  pid: 1,
  relayPid: null,
  uptimeSeconds: 0.5,
  runDir: '/run/portctl',
  stateDir: '/var/lib/portctl',
  publications: 1,
  containers: 1,
  networks: 1,
}

export interface FakeService extends Service {
  readonly calls: readonly (readonly [method: string, ...args: unknown[]])[]
}

/** Answers each call with a fixed view and notes it down; `overrides` replaces methods. */
export const fakeService = (overrides: Partial<Service> = {}): FakeService => {
  const calls: [string, ...unknown[]][] = []
  const answers: Service = {
    status: async () => status,
    listPublications: async () => [publication],
    publish: async () => ({ publications: [publication], notes: ['a note'] }),
    unpublish: async () => ({ publications: [publication] }),
    listContainers: async () => [containerView],
    run: async () => ({ container: detail, publications: [publication], notes: [] }),
    container: async () => detail,
    started: async () => detail,
    exited: async () => undefined,
    stop: async () => detail,
    remove: async () => undefined,
    inspect: async () => ({ kind: 'publication', ...publication }),
    ...overrides,
  }
  const recorded = Object.fromEntries(
    Object.entries(answers).map(([name, method]) => [
      name,
      (...args: unknown[]) => {
        calls.push([name, ...args])
        return (method as (...given: unknown[]) => unknown)(...args)
      },
    ]),
  ) as unknown as Service
  return { ...recorded, calls }
}
