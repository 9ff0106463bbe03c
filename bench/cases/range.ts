import { memory } from '../lab/cpu.ts'
import { type Docker, docker, IMAGE } from '../lab/docker.ts'
import { runContainer, startInstance } from '../lab/portctl.ts'
import { outside } from '../lab/world.ts'
import type { Case, Contestant } from './case.ts'

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now()
  await work()
  return (performance.now() - begun) / 1000
}

const MB = 1e6

type Ports = readonly [first: number, last: number]

const named = ([first, last]: Ports): string => `portctl, ${(last - first + 1).toLocaleString('en')} ports`
/** Of 1,000 ports. */
const SHORT: Ports = [20_000, 20_999]
const LONG: Ports = [20_000, 59_999]

const portctl = async (world: string, [first, last]: Ports): Promise<Contestant> => {
  const count = last - first + 1
  const { host } = await outside(`${world}-${count}`)
  const instance = await startInstance(host, `${world}-${count}`)
  await runContainer(instance)
  const range = `${first}-${last}:${first}-${last}`
  return {
    series: named([first, last]),
    measure: async () => {
      const before = memory(await instance.pids())
      const publish = await seconds(() => instance.portctl('publish', range))
      const grown = memory(await instance.pids()) - before
      const unpublish = await seconds(() => instance.portctl('unpublish', '--all'))
      return { publish, unpublish, memory: Math.max(0, grown) / MB }
    },
  }
}

const DOCKER = 'docker run -p, 1,000 ports'

const throughDocker = ({ docker, pid }: Docker): Contestant => ({
  series: DOCKER,
  measure: async () => {
    const before = memory([pid])
    const ports = ['-p', `${SHORT.join('-')}:${SHORT.join('-')}`]
    const publish = await seconds(() =>
      docker('run', '-d', '--name', 'range', ...ports, IMAGE, 'sleep', '600'),
    )
    const grown = memory([pid]) - before
    const unpublish = await seconds(() => docker('rm', '-f', 'range'))
    return { publish, unpublish, memory: grown / MB }
  },
})

const metrics: Case['metrics'] = {
  publish: { title: 'Publish', unit: 's', better: 'lower', plot: true },
  unpublish: { title: 'Unpublish', unit: 's', better: 'lower', plot: true },
  memory: { title: 'Memory', unit: 'MB', better: 'lower', plot: true },
}

export const range: Case = {
  name: 'range',
  words: ['control'],
  title: 'A range of ports: publish, unpublish, memory',
  method:
    'Wall time of the command; memory is the growth of proportional set size over control and relay. Beside Docker: range-docker',
  metrics,
  contestants: async laboratory => {
    const all: Contestant[] = []
    for (const ports of [SHORT, LONG])
      if (laboratory.takes(named(ports))) all.push(await portctl('range', ports))
    return all
  },
}

export const rangeDocker: Case = {
  name: 'range-docker',
  words: [],
  title: 'A range of 1,000 ports beside Docker: publish, unpublish, memory',
  method:
    'Wall time of the command; memory is the growth of proportional set size over control and relay, or over dockerd and its docker-proxies. Five rounds of Docker take twenty minutes, so this case is run by itself',
  apart: true,
  metrics,
  contestants: async laboratory => {
    const ours = laboratory.takes(named(SHORT)) ? [await portctl('range-docker', SHORT)] : []
    const theirs = laboratory.takes(DOCKER) ? await docker(laboratory) : null
    return theirs === null ? ours : [...ours, throughDocker(theirs)]
  },
}
