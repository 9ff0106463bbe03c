/** The target grammar: what follows `--to`. */
import { type Address, isWildcard, tryAddress } from './address.ts'
import { PortctlError } from './errors.ts'
import { type Name, parseName } from './name.ts'
import { bracketed } from './socket-address.ts'

/** A target as named by the user; a container's name is not resolved yet. */
export type TargetRef =
  | { readonly kind: 'container'; readonly name: Name }
  | { readonly kind: 'address'; readonly address: Address }
  | { readonly kind: 'pid'; readonly pid: number }
  | { readonly kind: 'netns'; readonly path: string; readonly name?: string }

/** Where `ip netns` keeps its names (ip-netns(8)). */
const NETNS_DIR = '/run/netns'

/** PID_MAX_LIMIT of include/linux/threads.h on 64-bit. */
const PID_MAX = 4_194_304

type Refuse = (why: string) => PortctlError

const parsePid = (text: string, refuse: Refuse): TargetRef => {
  const pid = Number(text)
  if (!/^\d{1,7}$/.test(text) || pid < 1 || pid > PID_MAX)
    throw refuse('pid: wants a process id, e.g. pid:1234')
  return { kind: 'pid', pid }
}

const parseNetns = (text: string, refuse: Refuse): TargetRef => {
  if (text.includes('\0')) throw refuse('a path cannot hold a zero byte')
  if (text.startsWith('/')) return { kind: 'netns', path: text }
  if (text === '' || text === '.' || text === '..' || text.includes('/'))
    throw refuse(`netns: wants a name under ${NETNS_DIR} or an absolute path`)
  return { kind: 'netns', path: `${NETNS_DIR}/${text}`, name: text }
}

const parseBareAddress = (address: Address, refuse: Refuse): TargetRef => {
  if (isWildcard(address)) throw refuse('it stands for every address; name one')
  return { kind: 'address', address }
}

/** `NAME`, `10.0.0.5`, `[fd00::5]`, `pid:N`, `netns:NAME|PATH`. @throws `target-invalid` */
export const parseTarget = (text: string): TargetRef => {
  const refuse: Refuse = why => PortctlError.of('target-invalid', { target: text, why })
  const inner = /^\[(.*)\]$/s.exec(text)?.[1] ?? text
  const address = tryAddress(inner)
  if (address !== null) return parseBareAddress(address, refuse)
  const colon = text.indexOf(':')
  if (colon >= 0) {
    const rest = text.slice(colon + 1)
    switch (text.slice(0, colon)) {
      case 'pid':
        return parsePid(rest, refuse)
      case 'netns':
        return parseNetns(rest, refuse)
      default:
        throw refuse('not an address, pid:N or netns:NAME|PATH')
    }
  }
  try {
    return { kind: 'container', name: parseName(text) }
  } catch (cause) {
    throw PortctlError.of(
      'target-invalid',
      { target: text, why: 'not a container name, address, pid:N or netns:NAME|PATH' },
      { cause },
    )
  }
}

/** The text that parses back to the same target. */
export const formatTarget = (target: TargetRef): string => {
  switch (target.kind) {
    case 'container':
      return target.name
    case 'address':
      return bracketed(target.address)
    case 'pid':
      return `pid:${target.pid}`
    case 'netns':
      return `netns:${target.name ?? target.path}`
    default:
      return target satisfies never
  }
}
