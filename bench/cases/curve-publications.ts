import { BACKEND } from '../lab/backend.ts'
import { memory } from '../lab/cpu.ts'
import { runContainer, startInstance } from '../lab/portctl.ts'
import { HOST, outside } from '../lab/world.ts'
import { agentIn } from '../loads/agent.ts'
import type { Case, Contestant } from './case.ts'

const COUNTS = [1, 10, 100, 1000, 9000, 40_000]
const FIRST = 10_000

export const curvePublications: Case = {
  name: 'curve-publications',
  words: ['curve', 'control'],
  title: 'Single-port publications, 1 to 40,000',
  method:
    'All in one request of the API, each a publication of its own; then 100 connections, one after another, to the last',
  // Memory is not given back: after a larger number it says nothing about a smaller one.
  rounds: 1,
  axis: 'publications',
  metrics: {
    'publish-each': { title: 'Publish, each', unit: 'ms', better: 'lower', plot: true },
    'unpublish-each': { title: 'Unpublish, each', unit: 'ms', better: 'lower' },
    'first-byte': { title: 'Connect to first byte, p50', unit: 'ms', better: 'lower', plot: true },
    memory: { title: 'Memory of control and relay', unit: 'MB', better: 'lower', plot: true },
  },
  contestants: async () => {
    const { client, host } = await outside('curve-publications')
    const instance = await startInstance(host, 'curve')
    const { netns } = await runContainer(instance)
    await agentIn(netns).echo({ port: BACKEND.echo })
    return COUNTS.map(
      (x): Contestant => ({
        series: 'portctl kernel',
        x,
        measure: async () => {
          const specs = Array.from({ length: x }, (_, i) => `${FIRST + i}:${BACKEND.echo}`)
          const begun = performance.now()
          await instance.api.publish({ specs })
          const published = performance.now()
          const first = await agentIn(client).firstByte({ host: HOST[4], port: FIRST + x - 1, count: 100 })
          const bytes = memory(await instance.pids())
          const done = performance.now()
          await instance.api.unpublish({ all: true })
          return {
            'publish-each': (published - begun) / x,
            'unpublish-each': (performance.now() - done) / x,
            'first-byte': first.p50,
            memory: bytes / 1e6,
          }
        },
      }),
    )
  },
}
