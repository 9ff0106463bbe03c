import { BACKEND } from '../lab/backend.ts'
import { memory } from '../lab/cpu.ts'
import { runContainer, startInstance } from '../lab/portctl.ts'
import { HOST, outside } from '../lab/world.ts'
import { agentIn } from '../loads/agent.ts'
import type { Case, Contestant } from './case.ts'

const COUNTS = [1, 100, 5000, 40_000]
const FIRST = 10_000
/** Publications a sample makes and takes back beside those that are there. */
const STEP = 100

export const curvePublications: Case = {
  name: 'curve-publications',
  words: ['curve', 'control'],
  title: 'Beside 1 to 40,000 single-port publications',
  method: `${STEP} more in one request of the API, each a publication of its own, and ${STEP} fewer: the time of the request, divided by ${STEP}. 100 connections, one after another, to the last`,
  grows: true,
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
    let there = 0
    const publish = async (count: number): Promise<readonly string[]> => {
      const specs = Array.from({ length: count }, (_, i) => `${FIRST + there + i}:${BACKEND.echo}`)
      return (await instance.api.publish({ specs })).publications.map(({ id }) => id)
    }
    const grow = async (to: number): Promise<void> => {
      if (to > there) await publish(to - there)
      there = to
    }
    return COUNTS.map(
      (x): Contestant => ({
        series: 'portctl kernel',
        x,
        measure: async () => {
          await grow(x)
          const bytes = memory(await instance.pids())
          const begun = performance.now()
          const ids = await publish(STEP)
          const published = performance.now()
          const port = FIRST + there + STEP - 1
          const first = await agentIn(client).firstByte({ host: HOST[4], port, count: 100 })
          const done = performance.now()
          await instance.api.unpublish({ refs: ids })
          return {
            'publish-each': (published - begun) / STEP,
            'unpublish-each': (performance.now() - done) / STEP,
            'first-byte': first.p50,
            memory: bytes / 1e6,
          }
        },
      }),
    )
  },
}
