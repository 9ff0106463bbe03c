import { withCpu } from '../lab/cpu.ts'
import type { Laboratory } from '../lab/laboratory.ts'
import { run } from '../lab/process.ts'
import { iperf3 } from '../loads/iperf3.ts'
import { wrk } from '../loads/wrk.ts'
import { type Running, url } from '../peers/peer.ts'
import { portctlWorkers } from '../peers/portctl.ts'
import type { Case, Contestant } from './case.ts'

const COUNTS = [1, 2]

export const curveWorkers: Case = {
  name: 'curve-workers',
  words: ['curve', 'workers', 'tcp'],
  title: 'The relay with 1 and 2 data-path threads',
  method:
    'portctl daemon --workers N; wrk -t 2 -c 32, the same with a connection a request and -c 64, iperf3 -P 4. Client and backend share the cores with the threads',
  axis: 'data-path threads',
  metrics: {
    'requests-per-second': { title: 'Requests a second', unit: 'req/s', better: 'higher', plot: true },
    'cpu-path': { title: 'CPU of the relay', unit: 's/1,000 requests', better: 'lower' },
    'connections-per-second': {
      title: 'New connections a second',
      unit: 'conn/s',
      better: 'higher',
      plot: true,
    },
    throughput: { title: 'Bulk, four streams', unit: 'Gbit/s', better: 'higher', plot: true },
  },
  contestants: async laboratory => {
    const all: Contestant[] = []
    for (const x of COUNTS) {
      const peer = await laboratory.fresh(portctlWorkers(x), `workers-${x}`)
      if (peer !== null) all.push({ series: peer.name, x, measure: () => sample(peer, laboratory) })
    }
    return all
  },
}

const sample = async (peer: Running, { seconds, brief }: Laboratory): Promise<Record<string, number>> => {
  const { client, host } = peer.world
  const http = url(peer.endpoint('http'))
  const { value: kept, cpu } = await withCpu(await peer.pids(), () =>
    wrk(client, http, { connections: 32, seconds: brief }),
  )
  const closed = await wrk(client, http, { connections: 64, seconds: brief, close: true })
  await run(host, ['conntrack', '-F']).catch(() => undefined)
  const bulk = await iperf3(client, peer.endpoint('bulk'), { streams: 4, seconds })
  return {
    'requests-per-second': kept.perSecond,
    'cpu-path': (cpu.path / kept.requests) * 1000,
    'connections-per-second': closed.perSecond,
    throughput: bulk.gigabitsPerSecond,
  }
}
