import type { PublicationView } from '../../api/views.ts'
import { PortctlError } from '../../core/errors.ts'
import { formatPorts, formatSocketAddress } from '../../core/socket-address.ts'
import { formatJson } from '../output.ts'
import { verb } from '../verb.ts'

/** One host address of one publication; the field names are contract. */
interface Mapping {
  readonly targetPort: number
  readonly targetPortEnd: number
  readonly protocol: string
  readonly hostIp: string
  readonly hostPort: number
  readonly hostPortEnd: number
}

export const port = verb({
  name: 'port',
  summary: "list a container's published ports, as docker port",
  operands: [{ name: 'CONTAINER' }, { name: 'PORT[/PROTO]', optional: true }],
  flags: {},
  printsData: true,
  examples: [
    { command: 'portctl port web', what: '80/tcp -> 0.0.0.0:8080, a line an address' },
    { command: 'portctl port web 80', what: 'where port 80/tcp is to be found' },
  ],
  async run(env, [name = '', wanted]) {
    const query = wanted === undefined ? null : parseQuery(wanted)
    const daemon = await env.daemon()
    const [container, publications] = await Promise.all([daemon.container(name), daemon.listPublications()])
    const all = publications.filter(p => p.container === container.name).flatMap(mappings)
    const chosen = query === null ? all.sort(byTarget) : all.flatMap(m => at(m, query))
    if (query !== null && chosen.length === 0)
      throw PortctlError.of('port-not-published', {
        port: `${query.port}/${query.protocol}`,
        container: name,
      })
    if (env.json) return void env.print(formatJson(chosen))
    for (const m of chosen) env.print(query === null ? `${target(m)} -> ${host(m)}` : host(m))
  },
})

const mappings = (p: PublicationView): readonly Mapping[] => {
  const { targetPort, targetPortEnd, protocol, hostPort, hostPortEnd } = p
  return p.hostIps.map(hostIp => ({ targetPort, targetPortEnd, protocol, hostIp, hostPort, hostPortEnd }))
}

const byTarget = (a: Mapping, b: Mapping): number =>
  a.targetPort - b.targetPort || a.protocol.localeCompare(b.protocol)

const target = (m: Mapping): string =>
  `${formatPorts({ first: m.targetPort, last: m.targetPortEnd })}/${m.protocol}`

const host = (m: Mapping): string => formatSocketAddress(m.hostIp, { first: m.hostPort, last: m.hostPortEnd })

interface Query {
  readonly port: number
  readonly protocol: string
}

const parseQuery = (text: string): Query => {
  const [, digits, protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/i.exec(text) ?? []
  if (digits === undefined || Number(digits) < 1 || Number(digits) > 65_535)
    throw PortctlError.of('usage', { what: `'${text}' is not of the form PORT[/PROTO]`, verb: 'port' })
  return { port: Number(digits), protocol: protocol.toLowerCase() }
}

/** The one port of the mapping that leads to the port asked for, or nothing. */
const at = (m: Mapping, { port, protocol }: Query): readonly Mapping[] => {
  if (m.protocol !== protocol || port < m.targetPort || port > m.targetPortEnd) return []
  if (m.targetPort === m.targetPortEnd) return [m]
  const hostPort = m.hostPort + port - m.targetPort
  return [{ ...m, targetPort: port, targetPortEnd: port, hostPort, hostPortEnd: hostPort }]
}
