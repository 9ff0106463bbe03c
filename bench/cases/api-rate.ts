import { percentiles } from '../agent/histogram.ts'
import { runContainer, startInstance } from '../lab/portctl.ts'
import { outside } from '../lab/world.ts'
import type { Case } from './case.ts'

const COUNT = 1000
const IN_FLIGHT = 16
const FIRST = 20_000

export const apiRate: Case = {
  name: 'api-rate',
  words: ['control', 'api'],
  title: '1,000 single publications through the API',
  method: `One request each over the unix socket, ${IN_FLIGHT} in flight, a container as target; every answer means "on disk and in the kernel"`,
  metrics: {
    'publications-per-second': { title: 'Publications a second', unit: '1/s', better: 'higher', plot: true },
    p50: { title: 'p50', unit: 'ms', better: 'lower' },
    p99: { title: 'p99', unit: 'ms', better: 'lower', plot: true },
  },
  contestants: async () => {
    const { host } = await outside('api')
    const instance = await startInstance(host, 'api')
    await runContainer(instance)
    return [
      {
        series: 'portctl',
        measure: async () => {
          const times = new Float64Array(COUNT)
          let next = 0
          const client = async (): Promise<void> => {
            for (let i = next++; i < COUNT; i = next++) {
              const from = performance.now()
              await instance.api.publish({ specs: [`${FIRST + i}:80`] })
              times[i] = performance.now() - from
            }
          }
          const begun = performance.now()
          await Promise.all(Array.from({ length: IN_FLIGHT }, client))
          const seconds = (performance.now() - begun) / 1000
          await instance.api.unpublish({ all: true })
          return { 'publications-per-second': COUNT / seconds, ...percentiles(times) }
        },
      },
    ]
  },
}
