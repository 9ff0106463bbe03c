import { monotonic } from '../agent/protocol.ts'
import { startBackend } from '../lab/backend.ts'
import { docker, IMAGE } from '../lab/docker.ts'
import { runContainer, startInstance } from '../lab/portctl.ts'
import type { Netns } from '../lab/process.ts'
import { HOST, outside } from '../lab/world.ts'
import { agentIn } from '../loads/agent.ts'
import type { Case, Contestant } from './case.ts'

const PORT = 18_080

/** From the start of the command to the first answer that a client on another machine gets. */
const timed = (
  series: string,
  client: Netns,
  publish: () => Promise<unknown>,
  withdraw: () => Promise<unknown>,
): Contestant => ({
  series,
  measure: async () => {
    const begun = monotonic()
    const reached = agentIn(client).reach({ host: HOST[4], port: PORT, timeout: 20_000 })
    await publish()
    const milliseconds = (await reached) - begun
    await withdraw()
    return { milliseconds }
  },
})

export const coldPublish: Case = {
  name: 'cold-publish',
  words: ['control', 'docker', 'cli'],
  title: 'From the command to a reachable port',
  method:
    'Start of `portctl publish` (container already runs: it need not be made anew) or of `docker run -p`, to the first HTTP answer at a client that tries all the time',
  metrics: { milliseconds: { title: 'Time to first answer', unit: 'ms', better: 'lower', plot: true } },
  contestants: async laboratory => {
    const own = await outside('cold-portctl')
    const instance = await startInstance(own.host, 'cold')
    const { netns } = await runContainer(instance)
    await startBackend(netns)
    const theirs = laboratory.takes('docker run -p') ? await docker(laboratory) : null
    return [
      timed(
        'portctl publish',
        own.client,
        () => instance.portctl('publish', `${PORT}:80`),
        () => instance.portctl('unpublish', '--all'),
      ),
      ...(theirs === null
        ? []
        : [
            timed(
              'docker run -p',
              theirs.client,
              () => {
                const httpd = ['httpd', '-f', '-p', '80', '-h', '/www']
                return theirs.docker('run', '-d', '--name', 'cold', '-p', `${PORT}:80`, IMAGE, ...httpd)
              },
              () => theirs.docker('rm', '-f', 'cold'),
            ),
          ]),
    ].filter(({ series }) => laboratory.takes(series))
  },
}
