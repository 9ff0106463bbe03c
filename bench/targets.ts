/** What portctl promises, as data: a metric of one contestant against another's, in one run. */

import type { CaseResult } from './report/results.ts'
import { byDistance, ratios, type Summary, summarise } from './report/statistics.ts'
import { label, type Measured } from './rounds.ts'

export interface Target {
  readonly title: string
  readonly case: string
  readonly metric: string
  readonly of: string
  /** null: the value itself is the figure. */
  readonly against: string | null
  readonly is: '>=' | '<='
  readonly value: number
  /** Fails a build when it falls below 0.8 of the target. */
  readonly guard: boolean
}

const RELAY = 'portctl relay'
const KERNEL = 'portctl kernel'
const PROXY = 'docker-proxy'
const DIRECT = 'direct'
/** Takes minutes. */
export const DOCKER_PORTS = 'docker run -p, 1,000 ports'

const at = (
  title: string,
  inCase: string,
  metric: string,
  of: string,
  against: string | null,
  is: '>=' | '<=',
  value: number,
  guard = false,
): Target => ({ title, case: inCase, metric, of, against, is, value, guard })

export const TARGETS: readonly Target[] = [
  at(
    'Keep-alive requests a second, relay',
    'tcp-keepalive',
    'requests-per-second',
    RELAY,
    PROXY,
    '>=',
    1.4,
    true,
  ),
  at('New connections a second, relay', 'tcp-connections', 'connections-per-second', RELAY, PROXY, '>=', 1.5),
  at('Bulk, one stream, relay', 'tcp-bulk-1', 'throughput', RELAY, PROXY, '>=', 1.15, true),
  at('Bulk, four streams, relay', 'tcp-bulk-4', 'throughput', RELAY, PROXY, '>=', 1.15),
  at('CPU a GB, relay', 'tcp-bulk-1', 'cpu-machine', RELAY, PROXY, '<=', 0.9),
  at('p99 latency at half of docker-proxy’s peak, relay', 'tcp-latency', 'p99', RELAY, PROXY, '<=', 1),
  at(
    'Requests a second from the host to 127.0.0.1, default path',
    'tcp-loopback',
    'requests-per-second',
    KERNEL,
    PROXY,
    '>=',
    2,
  ),
  at(
    'Keep-alive requests a second, kernel path',
    'tcp-keepalive',
    'requests-per-second',
    KERNEL,
    DIRECT,
    '>=',
    0.95,
    true,
  ),
  at(
    'New connections a second, kernel path',
    'tcp-connections',
    'connections-per-second',
    KERNEL,
    DIRECT,
    '>=',
    0.95,
  ),
  at('Bulk, one stream, kernel path', 'tcp-bulk-1', 'throughput', KERNEL, DIRECT, '>=', 0.95),
  at('Bulk, four streams, kernel path', 'tcp-bulk-4', 'throughput', KERNEL, DIRECT, '>=', 0.95),
  at(
    'New connections a second beside 5,000 publications',
    'scale-publications',
    'connections-per-second',
    'portctl kernel @ 5,000',
    'portctl kernel @ 1',
    '>=',
    0.95,
  ),
  at('UDP delivered, 64 B, relay', 'udp-64', 'delivered', RELAY, PROXY, '>=', 2),
  at('UDP delivered, 1,400 B, relay', 'udp-1400', 'delivered', RELAY, PROXY, '>=', 2),
  at('UDP delivered, 64 flows, relay', 'udp-flows', 'delivered', RELAY, PROXY, '>=', 2),
  at('UDP lost, 64 B, relay', 'udp-64', 'loss', RELAY, PROXY, '<=', 1),
  at('UDP lost, 1,400 B, relay', 'udp-1400', 'loss', RELAY, PROXY, '<=', 1),
  at('UDP lost, 64 flows, relay', 'udp-flows', 'loss', RELAY, PROXY, '<=', 1),
  at('UDP round trip p50, relay', 'udp-rtt', 'p50', RELAY, PROXY, '<=', 0.9),
  at(
    'Publish 1,000 ports',
    'range-docker',
    'publish',
    'portctl, 1,000 ports',
    DOCKER_PORTS,
    '<=',
    0.02,
    true,
  ),
  at('Unpublish 1,000 ports', 'range-docker', 'unpublish', 'portctl, 1,000 ports', DOCKER_PORTS, '<=', 0.02),
  at('Memory of 1,000 ports', 'range-docker', 'memory', 'portctl, 1,000 ports', DOCKER_PORTS, '<=', 0.01),
  at(
    'Publications a second through the API',
    'api-rate',
    'publications-per-second',
    'portctl',
    null,
    '>=',
    300,
  ),
  at('p99 of one of them, ms', 'api-rate', 'p99', 'portctl', null, '<=', 100),
  at(
    'From the command to a reachable port',
    'cold-publish',
    'milliseconds',
    'portctl publish',
    'docker run -p',
    '<=',
    0.6,
  ),
  at('Start-up of portctl --version', 'startup', 'milliseconds', 'portctl --version', 'node -e 0', '<=', 1.5),
  at('Start-up of portctl ls', 'startup', 'milliseconds', 'portctl ls', 'node -e 0', '<=', 2),
  at('Memory of an idle connection, bytes, relay', 'idle-memory', 'bytes', RELAY, null, '<=', 512),
  at(
    'Connect to first byte, crowded with idle connections, relay',
    'idle-latency',
    'p50',
    'portctl relay, crowded',
    RELAY,
    '<=',
    1.1,
  ),
]

export interface Verdict extends Summary {
  readonly target: Target
  /** Median of the rounds in which the CPUs were near, and of those in which they were far apart; null where there were none. */
  readonly near: number | null
  readonly far: number | null
  readonly met: boolean
  /** The figure as a share of the target; 1 is just met, more is better. */
  readonly share: number
}

/** One verdict a target whose two contestants were measured to the end. */
export const judge = (cases: readonly CaseResult[], targets = TARGETS): readonly Verdict[] =>
  targets.flatMap(target => {
    const measured = cases.find(c => c.name === target.case)?.measured ?? []
    const find = (name: string | null): Measured | undefined =>
      measured.find(m => label(m.series, m.x) === name)
    const [of, other] = [find(target.of), find(target.against)]
    const values = of?.samples[target.metric] ?? []
    const against = target.against === null ? values.map(() => 1) : (other?.samples[target.metric] ?? [])
    if (of === undefined || values.length === 0 || against.length === 0) return []
    if (of.failed !== undefined || other?.failed !== undefined) return []
    const figures = ratios(values, against)
    const sameRounds = other !== undefined && against.length === values.length
    const { near, far } = byDistance(figures, of.coreLatency, ...(sameRounds ? [other.coreLatency] : []))
    const all = summarise(figures)
    const share = target.is === '>=' ? all.median / target.value : target.value / all.median
    return [{ target, ...all, near: median(near), far: median(far), met: share >= 1, share }]
  })

const median = (figures: readonly number[]): number | null =>
  figures.length === 0 ? null : summarise(figures).median
