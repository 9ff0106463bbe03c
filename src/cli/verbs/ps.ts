import { formatJson, table } from '../output.ts'
import { verb } from '../verb.ts'

const HEADING = ['NAME', 'ID', 'STATUS', 'PID', 'NETWORK', 'ADDRESSES', 'PORTS'] as const

export const ps = verb({
  name: 'ps',
  summary: 'list containers',
  operands: [],
  flags: {},
  printsData: true,
  examples: [{ command: 'portctl ps', what: 'names, states, addresses and published ports' }],
  async run(env) {
    const containers = await (await env.daemon()).listContainers()
    if (env.json) return void env.print(formatJson(containers))
    if (env.quiet) {
      for (const c of containers) env.print(c.name)
      return
    }
    const rows = containers.map(c => {
      const places = Object.values(c.networks)
      return [
        c.name,
        c.id,
        c.status,
        c.pid === null ? '-' : `${c.pid}`,
        listed(Object.keys(c.networks)),
        listed(places.flatMap(place => [place.ipv4, place.ipv6].filter(a => a !== null))),
        listed(c.ports),
      ]
    })
    env.print(table(HEADING, rows, env.heading))
  },
})

const listed = (items: readonly string[]): string => (items.length === 0 ? '-' : items.join(', '))
