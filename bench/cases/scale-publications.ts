/** The cost of a new connection when many other ports are published, to the one that is worst placed: the last. */
import { startBackend } from '../lab/backend.ts'
import type { Laboratory } from '../lab/laboratory.ts'
import { runContainer, startInstance } from '../lab/portctl.ts'
import type { Netns } from '../lab/process.ts'
import { run } from '../lab/process.ts'
import { forwarding, HOST, outside } from '../lab/world.ts'
import { wrk } from '../loads/wrk.ts'
import { loadDockerRules } from '../peers/iptables.ts'
import { furnished } from '../peers/peer.ts'
import type { Case, Contestant } from './case.ts'

const FIRST = 10_000
const COUNTS = [1, 5000]

const contestant = (
  laboratory: Laboratory,
  series: string,
  x: number,
  { client, host }: { readonly client: Netns; readonly host: Netns },
): Contestant => ({
  series,
  x,
  measure: async () => {
    await run(host, ['conntrack', '-F'])
    const options = { connections: 64, seconds: laboratory.brief, close: true }
    const result = await wrk(client, `http://${HOST[4]}:${FIRST + x - 1}/`, options)
    return { 'connections-per-second': result.perSecond }
  },
})

const throughPortctl = async (laboratory: Laboratory, count: number): Promise<Contestant> => {
  const ends = await outside(`portctl-${count}`)
  const instance = await startInstance(ends.host, `portctl-${count}`)
  const { netns } = await runContainer(instance)
  await startBackend(netns)
  await instance.portctl('publish', ...Array.from({ length: count }, (_, i) => `${FIRST + i}:80`))
  return contestant(laboratory, 'portctl kernel', count, ends)
}

const throughIptables = async (laboratory: Laboratory, count: number): Promise<Contestant> => {
  const world = await furnished(`iptables-${count}`)
  await forwarding(world)
  const rules = Array.from({ length: count }, (_, i) => ({ protocol: 'tcp', port: FIRST + i, to: 80 }))
  await loadDockerRules(world, rules)
  return contestant(laboratory, 'docker iptables', count, world)
}

export const scalePublications: Case = {
  name: 'scale-publications',
  words: ['scale', 'tcp'],
  title: 'New connections beside 5,000 publications',
  method: "wrk -t 2 -c 64 -H 'Connection: close' to the publication made last",
  axis: 'single-port publications',
  metrics: {
    'connections-per-second': { title: 'Connections a second', unit: 'conn/s', better: 'higher', plot: true },
  },
  contestants: async laboratory => {
    const all: Contestant[] = []
    for (const count of COUNTS)
      all.push(await throughPortctl(laboratory, count), await throughIptables(laboratory, count))
    return all
  },
}
