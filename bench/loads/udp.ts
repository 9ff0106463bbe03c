/** Runs bench/udp-load.ts: a sink or an echo in the container, a sender in the client's namespace. */
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Percentiles } from '../agent/protocol.ts'
import { BACKEND } from '../lab/backend.ts'
import { paths } from '../lab/paths.ts'
import { run, start } from '../lab/process.ts'
import type { Running } from '../peers/peer.ts'

/** Of one sender: below the 20,000 descriptors that a process may have where nobody raised the limit. */
const MOST_FLOWS = 17_000

const PROGRAM = ['node', join(paths.bundles, 'udp-load.cjs')] as const

export interface Flood {
  readonly size: number
  readonly flows: number
  readonly seconds: number
  /** Datagrams a second; as many as it can when absent. */
  readonly rate?: number
}

export interface Delivered {
  readonly sent: number
  readonly arrived: number
  readonly perSecond: number
}

interface Burst {
  readonly datagrams: number
  readonly milliseconds: number
}

/** What `peer` brings to the container of a flood at its UDP port. */
export const flood = async (peer: Running, { size, flows, seconds, rate = 0 }: Flood): Promise<Delivered> => {
  const { world } = peer
  const sink = start(world.container, [...PROGRAM, 'sink', '0.0.0.0', String(BACKEND.udp)], {
    stdout: 'pipe',
  })
  const lines = createInterface({ input: sink.child.stdout as Readable })
  try {
    await once(lines, 'line')
    const bursts: Burst[] = []
    lines.on('line', line => bursts.push(JSON.parse(line) as Burst))
    const { host, port } = peer.endpoint('udp')
    // A flow is a socket of a sender.
    const senders = Math.ceil(flows / MOST_FLOWS)
    const options = { seconds, size, flows: Math.ceil(flows / senders), rate: rate / senders }
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
    const outputs = await Promise.all(
      Array.from({ length: senders }, () =>
        run(world.client, [...PROGRAM, 'flood', host, String(port), ...flags]),
      ),
    )
    const sent = outputs.reduce((sum, output) => sum + (JSON.parse(output) as { sent: number }).sent, 0)
    // The sink reports a burst once nothing came for 300 ms: the last after the flood, if anything came at all.
    const before = bursts.length
    for (let waited = 0; bursts.length === before && waited < 1000; waited += 50) await sleep(50)
    const arrived = bursts.reduce((sum, burst) => sum + burst.datagrams, 0)
    // Several senders do not begin at the same moment.
    const milliseconds =
      senders > 1 ? seconds * 1000 : bursts.reduce((sum, burst) => sum + burst.milliseconds, 0)
    return { sent, arrived, perSecond: arrived === 0 ? 0 : arrived / (milliseconds / 1000) }
  } finally {
    await sink.stop('SIGKILL')
  }
}

export const roundTrip = async (
  peer: Running,
  count: number,
): Promise<Percentiles & { readonly lost: number }> => {
  const { world } = peer
  const echo = start(world.container, [...PROGRAM, 'echo', '0.0.0.0', String(BACKEND.ping)], {
    stdout: 'pipe',
  })
  try {
    await once(createInterface({ input: echo.child.stdout as Readable }), 'line')
    const { host, port } = peer.endpoint('ping')
    const output = await run(world.client, [...PROGRAM, 'rtt', host, String(port), '--count', String(count)])
    return JSON.parse(output) as Percentiles & { readonly lost: number }
  } finally {
    await echo.stop('SIGKILL')
  }
}
