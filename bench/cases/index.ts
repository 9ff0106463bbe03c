/** All cases, in the order of the report. */
import { apiRate } from './api-rate.ts'
import type { Case } from './case.ts'
import { coldPublish } from './cold-publish.ts'
import { curveConnections } from './curve-connections.ts'
import { curveFlows } from './curve-flows.ts'
import { curveIdle } from './curve-idle.ts'
import { curvePublications } from './curve-publications.ts'
import { curveWorkers } from './curve-workers.ts'
import { idleLatency, idleMemory } from './idle.ts'
import { range, rangeDocker } from './range.ts'
import { scalePublications } from './scale-publications.ts'
import { startup } from './startup.ts'
import { tcpAutocannon } from './tcp-autocannon.ts'
import { tcpBulk1, tcpBulk4 } from './tcp-bulk.ts'
import { tcpConnections } from './tcp-connections.ts'
import { tcpKeepalive } from './tcp-keepalive.ts'
import { tcpLatency } from './tcp-latency.ts'
import { tcpLoopback } from './tcp-loopback.ts'
import { udpLarge, udpMix, udpRoundTrip, udpSmall } from './udp.ts'

export const CASES: readonly Case[] = [
  tcpKeepalive,
  tcpAutocannon,
  tcpConnections,
  tcpBulk1,
  tcpBulk4,
  tcpLatency,
  tcpLoopback,
  udpSmall,
  udpLarge,
  udpMix,
  udpRoundTrip,
  scalePublications,
  range,
  rangeDocker,
  apiRate,
  coldPublish,
  startup,
  idleMemory,
  idleLatency,
  curvePublications,
  curveConnections,
  curveIdle,
  curveFlows,
  curveWorkers,
]
