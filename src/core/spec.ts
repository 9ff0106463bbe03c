/**
 * The publish grammar: docker's `-p`, every row of which means here what it means there (go-connections `nat`), and
 * the long form `published=8080,target=80,protocol=udp,host_ip=…`, honoured whole.
 *
 *     [[HOST-ADDRESS:][HOST-PORTS]:]TARGET-PORTS[/PROTOCOL]
 *
 * Fields are counted from the right, so an unbracketed IPv6 address is whatever precedes the last two. Two departures
 * from docker, both refusals: target port 0 (no one can listen on it) and 0 as an end of a host range.
 */
import { type Address, type PortRange, type Protocol, tryAddress } from './address.ts'
import { PortctlError } from './errors.ts'
import { bracketed, formatPorts } from './socket-address.ts'

interface Common {
  /** Null: every local address of both families. A wildcard: every address of that family. */
  readonly hostIp: Address | null
  readonly targetPorts: PortRange
  readonly protocol: Protocol
}

/**
 * How the host ports follow from the request:
 * `ephemeral`: none was given; each target port gets a free one from ip_local_port_range.
 * `one-to-one`: as many as target ports; the first leads to the first, and so on.
 * `one-of-range`: one free port of the range, for the single target port.
 */
export type PublishSpec =
  | (Common & { readonly pick: 'ephemeral'; readonly hostPorts: null })
  | (Common & { readonly pick: 'one-to-one' | 'one-of-range'; readonly hostPorts: PortRange })

const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'sctp'] satisfies readonly Protocol[]

type Refuse = (part: string, why: string) => PortctlError

const portOf = (text: string): number | null => {
  if (!/^\+?\d+$/.test(text)) return null
  const port = Number(text)
  return port > 65_535 ? null : port
}

/** `80` or `80-90`, 0 included. */
const parsePorts = (text: string, part: string, refuse: Refuse): PortRange => {
  const dash = text.indexOf('-')
  const first = portOf(dash < 0 ? text : text.slice(0, dash))
  const last = dash < 0 ? first : portOf(text.slice(dash + 1))
  if (first === null || last === null)
    throw refuse(`${part} '${text}'`, 'not a port from 1 to 65535 nor a range FIRST-LAST of them')
  if (last < first) throw refuse(`${part} '${text}'`, 'the range ends before it starts')
  return { first, last }
}

const parseTargetPorts = (text: string, refuse: Refuse): PortRange => {
  if (text === '') throw refuse('target port', 'missing')
  const ports = parsePorts(text, 'target port', refuse)
  if (ports.first === 0) throw refuse(`target port '${text}'`, 'nothing can listen on port 0')
  return ports
}

/** Null when the port is to be picked: no text, or 0. */
const parseHostPorts = (text: string, refuse: Refuse): PortRange | null => {
  if (text === '') return null
  if (tryAddress(text) !== null)
    throw refuse(`host port '${text}'`, `not a port; to bind an address write ${text}:PORT:… or ${text}::…`)
  const ports = parsePorts(text, 'host port', refuse)
  if (ports.first > 0) return ports
  if (ports.last > 0) throw refuse(`host port '${text}'`, 'a range cannot start at 0')
  return null
}

const parseHostIp = (text: string, refuse: Refuse): Address => {
  const address = tryAddress(/^\[(.*)\]$/s.exec(text)?.[1] ?? text)
  if (address === null)
    throw refuse(`host address '${text}'`, 'not an IP address (no names, interfaces, zones or short forms)')
  return address
}

const parseProtocol = (text: string, refuse: Refuse): Protocol => {
  const protocol = text === '' ? 'tcp' : text.toLowerCase()
  if (!PROTOCOLS.includes(protocol)) throw refuse(`protocol '${text}'`, 'not one of tcp, udp, sctp')
  return protocol as Protocol
}

/** The four fields as text; '' where one is absent. */
interface Fields {
  readonly hostIp: string
  readonly hostPorts: string
  readonly targetPorts: string
  readonly protocol: string
}

const build = (fields: Fields, refuse: Refuse): PublishSpec => {
  const protocol = parseProtocol(fields.protocol, refuse)
  const targetPorts = parseTargetPorts(fields.targetPorts, refuse)
  const hostPorts = parseHostPorts(fields.hostPorts, refuse)
  const hostIp = fields.hostIp === '' ? null : parseHostIp(fields.hostIp, refuse)
  if (hostPorts === null) return { hostIp, targetPorts, protocol, pick: 'ephemeral', hostPorts }
  const hostCount = hostPorts.last - hostPorts.first
  const targetCount = targetPorts.last - targetPorts.first
  if (hostCount === targetCount) return { hostIp, targetPorts, protocol, pick: 'one-to-one', hostPorts }
  if (targetCount === 0) return { hostIp, targetPorts, protocol, pick: 'one-of-range', hostPorts }
  throw refuse(
    `ranges ${formatPorts(hostPorts)} and ${formatPorts(targetPorts)}`,
    `${hostCount + 1} host port(s) for ${targetCount + 1} target ports; give as many of each, or one target port`,
  )
}

/** Splits off a bracketed address, or counts fields from the right. */
const splitFields = (text: string, refuse: Refuse): Omit<Fields, 'protocol'> => {
  const bracket = text.startsWith('[') ? text.indexOf(']') : -1
  if (text.startsWith('[') && bracket < 0) throw refuse(`host address '${text}'`, "']' is missing")
  const hostIp = text.slice(0, bracket + 1)
  const parts = text.slice(bracket + 1).split(':')
  const targetPorts = parts.pop() ?? ''
  const hostPorts = parts.pop() ?? ''
  if (hostIp === '') return { hostIp: parts.join(':'), hostPorts, targetPorts }
  // What follows the bracket must be `:HOST:TARGET`, so one empty field is left over.
  if (parts.length !== 1 || parts[0] !== '')
    throw refuse(`host address '${hostIp}'`, `write ${hostIp}:PORT:TARGET-PORT, or ${hostIp}::TARGET-PORT`)
  return { hostIp, hostPorts, targetPorts }
}

const parseShort = (text: string, refuse: Refuse): PublishSpec => {
  // The protocol belongs to the last field: a slash before the last colon is part of another field, and wrong there.
  const slash = text.indexOf('/', text.lastIndexOf(':') + 1)
  const ports = slash < 0 ? text : text.slice(0, slash)
  return build({ ...splitFields(ports, refuse), protocol: slash < 0 ? '' : text.slice(slash + 1) }, refuse)
}

const LONG_KEYS = {
  published: 'hostPorts',
  target: 'targetPorts',
  protocol: 'protocol',
  host_ip: 'hostIp',
} as const satisfies Record<string, keyof Fields>

const parseLong = (text: string, refuse: Refuse): PublishSpec => {
  const fields: { -readonly [K in keyof Fields]?: string } = {}
  for (const item of text.split(',')) {
    const equals = item.indexOf('=')
    if (equals < 0) throw refuse(`'${item}'`, 'not of the form key=value')
    const key = item.slice(0, equals)
    const value = item.slice(equals + 1)
    if (!Object.hasOwn(LONG_KEYS, key))
      throw refuse(`key '${key}'`, `unknown; the keys are ${Object.keys(LONG_KEYS).join(', ')}`)
    const field = LONG_KEYS[key as keyof typeof LONG_KEYS]
    if (fields[field] !== undefined) throw refuse(`key '${key}'`, 'given twice')
    // An empty host_ip is most likely an unset shell variable; taking it for "every address" would open the port to all.
    if (field === 'hostIp' && value === '') throw refuse(`key '${key}'`, 'empty')
    fields[field] = value
  }
  return build({ hostIp: '', hostPorts: '', targetPorts: '', protocol: '', ...fields }, refuse)
}

/** @throws `spec-invalid`, naming the part at fault. */
export const parsePublishSpec = (text: string): PublishSpec => {
  const refuse: Refuse = (part, why) => PortctlError.of('spec-invalid', { spec: text, part, why })
  return text.includes('=') ? parseLong(text, refuse) : parseShort(text, refuse)
}

/** The shortest text that parses back to the same specification. */
export const formatPublishSpec = (spec: PublishSpec): string => {
  const target = formatPorts(spec.targetPorts) + (spec.protocol === 'tcp' ? '' : `/${spec.protocol}`)
  const host = spec.hostPorts === null ? '' : formatPorts(spec.hostPorts)
  if (spec.hostIp !== null) return `${bracketed(spec.hostIp)}:${host}:${target}`
  return host === '' ? target : `${host}:${target}`
}
