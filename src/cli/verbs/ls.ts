import { formatBytes, formatJson, hostSide, table, targetSide } from '../output.ts'
import { verb } from '../verb.ts'

const HEADING = ['ID', 'NAME', 'HOST', 'TARGET', 'VIA', 'STATE', 'CONNECTIONS', 'IN', 'OUT'] as const

export const ls = verb({
  name: 'ls',
  summary: 'list publications',
  description: [
    'CONNECTIONS: open now / since it was published (flows, for UDP). IN is client to target. On the kernel path bytes are counted with their IP headers.',
  ],
  operands: [],
  flags: {},
  printsData: true,
  examples: [
    { command: 'portctl ls', what: 'what is published, where it leads and what it carried' },
    { command: "portctl ls --json | jq -r '.[].hostPort'", what: 'for programs' },
  ],
  async run(env) {
    const publications = await (await env.daemon()).listPublications()
    if (env.json) return void env.print(formatJson(publications))
    if (env.quiet) {
      for (const p of publications) env.print(p.id)
      return
    }
    const rows = publications.map(p => [
      p.id,
      p.name ?? '-',
      hostSide(p),
      targetSide(p),
      p.via,
      p.state,
      `${p.connections.active}/${p.connections.total}`,
      formatBytes(p.bytes.in),
      formatBytes(p.bytes.out),
    ])
    env.print(table(HEADING, rows, env.heading))
  },
})
