/** What the API takes and gives, as types only (the CLI imports no schema library). `schemas.ts` is the same in zod. */
import type { Via } from '../model/index.ts'

/** A row of `portctl ls --json`. The field names are contract. */
export interface PublicationView {
  readonly id: string
  readonly name: string | null
  readonly protocol: string
  readonly hostIps: readonly string[]
  readonly hostPort: number
  readonly hostPortEnd: number
  /** Container name, or null when the target is none of ours. */
  readonly container: string | null
  /** Container's address, `10.0.0.5`, `pid:1234`, `netns:NAME`. */
  readonly target: string
  readonly targetPort: number
  readonly targetPortEnd: number
  /** The way in use. */
  readonly via: 'kernel' | 'relay'
  /** `active`, or why traffic can't pass: `target-gone`. */
  readonly state: string
  readonly connections: { readonly active: number; readonly total: number }
  /** `in` is client → target. Relay path: payload bytes; kernel path: IP packet bytes. */
  readonly bytes: { readonly in: number; readonly out: number }
}

/** A row of `portctl ps --json`. The field names are contract. */
export interface ContainerView {
  readonly name: string
  readonly id: string
  readonly pid: number | null
  readonly netns: string
  readonly status: string
  readonly networks: Readonly<
    Record<
      string,
      {
        readonly ipv4: string | null
        readonly ipv6: string | null
        readonly mac: string
        readonly gateway: string | null
      }
    >
  >
  /** As `docker ps` prints them: `0.0.0.0:8080->80/tcp`. */
  readonly ports: readonly string[]
}

export interface ContainerDetail extends ContainerView {
  readonly command: readonly string[]
  readonly exitCode: number | null
  readonly autoRemove: boolean
  /** File to bind over /etc/resolv.conf inside. */
  readonly resolvConf: string
  /** Output of a detached container; null in the foreground. */
  readonly logFile: string | null
}

export interface StatusView {
  readonly version: string
  readonly pid: number
  readonly relayPid: number | null
  readonly uptimeSeconds: number
  readonly runDir: string
  readonly stateDir: string
  readonly publications: number
  readonly containers: number
  readonly networks: number
}

/** POST /v1/publications */
export interface PublishRequest {
  /** `-p` specifications; ones that differ only in the host address become one publication. */
  readonly specs: readonly string[]
  readonly to?: string
  readonly name?: string
  readonly via?: Via
  /** The client will `hold` them; should the daemon end first, the next one drops them. */
  readonly held?: boolean
}

export interface PublishResponse {
  readonly publications: readonly PublicationView[]
  /** Lines for the user's stderr, e.g. that only the relay path is possible. */
  readonly notes: readonly string[]
}

/** POST /v1/unpublish: `refs` are ids, id prefixes, names or host-side specs. */
export interface UnpublishRequest {
  readonly refs?: readonly string[]
  readonly all?: boolean
  /** A ref that nothing answers to is skipped rather than refused. */
  readonly missingOk?: boolean
}

/** POST /v1/hold */
export interface HoldRequest {
  readonly ids: readonly string[]
}

/** Without counters: reading them costs as much as there are publications, and taking one back must not. */
export type TakenBack = Omit<PublicationView, 'connections' | 'bytes'>

export interface UnpublishResponse {
  readonly publications: readonly TakenBack[]
}

/** POST /v1/containers */
export interface RunRequest {
  readonly name?: string
  readonly network?: string
  readonly ip?: string
  readonly publish?: readonly string[]
  readonly command: readonly string[]
  /** true: the daemon starts the command. false: the client does, then says so with /started and /exited. */
  readonly detach: boolean
  readonly autoRemove: boolean
  /** For a detached command: environment and working directory of the caller. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface RunResponse {
  readonly container: ContainerDetail
  readonly publications: readonly PublicationView[]
  readonly notes: readonly string[]
}

/** POST /v1/containers/:name/started */
export interface StartedRequest {
  readonly pid: number
}

/** POST /v1/containers/:name/exited */
export interface ExitedRequest {
  readonly exitCode: number
}

/** POST /v1/containers/:name/stop */
export interface StopRequest {
  /** Seconds between SIGTERM and SIGKILL; 10 when absent. */
  readonly timeoutSeconds?: number
}

/** GET /v1/inspect/:ref */
export type InspectView =
  | ({ readonly kind: 'container' } & ContainerDetail)
  | ({ readonly kind: 'publication' } & PublicationView)

/**
 * What the daemon does, one method a route; the server maps routes onto it and the client is its mirror.
 *
 * | method | route |
 * |---|---|
 * | status | GET /v1/status |
 * | listPublications | GET /v1/publications |
 * | publish | POST /v1/publications |
 * | hold | POST /v1/hold: stays open; when the client goes, the publications go (`publish --foreground`) |
 * | unpublish | POST /v1/unpublish |
 * | listContainers | GET /v1/containers |
 * | run | POST /v1/containers |
 * | container | GET /v1/containers/:name |
 * | started / exited / stop | POST /v1/containers/:name/… |
 * | remove | DELETE /v1/containers/:name?force=true |
 * | inspect | GET /v1/inspect/:ref |
 */
export interface Service {
  status(): Promise<StatusView>
  listPublications(): Promise<readonly PublicationView[]>
  publish(request: PublishRequest): Promise<PublishResponse>
  unpublish(request: UnpublishRequest): Promise<UnpublishResponse>
  listContainers(): Promise<readonly ContainerView[]>
  run(request: RunRequest): Promise<RunResponse>
  container(name: string): Promise<ContainerDetail>
  started(name: string, request: StartedRequest): Promise<ContainerDetail>
  exited(name: string, request: ExitedRequest): Promise<void>
  stop(name: string, request: StopRequest): Promise<ContainerDetail>
  remove(name: string, force: boolean): Promise<void>
  inspect(ref: string): Promise<InspectView>
}
