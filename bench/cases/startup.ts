import { runContainer, startInstance } from '../lab/portctl.ts'
import { run } from '../lab/process.ts'
import { outside } from '../lab/world.ts'
import type { Case, Contestant } from './case.ts'

/** Starts in one sample: a single one is mostly noise. */
const TIMES = 4

const timed = (series: string, command: () => Promise<unknown>): Contestant => ({
  series,
  measure: async () => {
    const begun = performance.now()
    for (let i = 0; i < TIMES; i++) await command()
    return { milliseconds: (performance.now() - begun) / TIMES }
  },
})

export const startup: Case = {
  name: 'startup',
  words: ['cli'],
  title: 'Command-line start-up',
  method: `Mean of ${TIMES} starts a sample; "portctl ls" asks a running daemon`,
  metrics: { milliseconds: { title: 'Wall time', unit: 'ms', better: 'lower', plot: true } },
  contestants: async laboratory => {
    const { host } = await outside('startup')
    const instance = await startInstance(host, 'startup')
    await runContainer(instance)
    await instance.portctl('publish', '8080:80')
    return [
      timed('node -e 0', () => run(host, ['node', '-e', '0'])),
      timed('portctl --version', () => instance.portctl('--version')),
      timed('portctl ls', () => instance.portctl('ls')),
      ...((await laboratory.has({ name: 'docker --version', needs: { docker: 'docker.io' } }))
        ? [timed('docker --version', () => run(host, ['docker', '--version']))]
        : []),
    ].filter(({ series }) => laboratory.takes(series))
  },
}
