/** What keeps a port from being published or found. */
import { formatSocketAddress } from '../socket-address.ts'
import { row } from './row.ts'

const endpoint = (address: string, port: number): string =>
  formatSocketAddress(address, { first: port, last: port })

export const PUBLISHING_ERRORS = {
  'port-taken': row<{ address: string; port: number; protocol: string; owner?: string }>({
    exit: 1,
    http: 409,
    meaning: 'Something else holds the host port; the message names the owner where it can be found.',
    text: p =>
      `${endpoint(p.address, p.port)}/${p.protocol} is already in use${p.owner === undefined ? '' : ` by ${p.owner}`}`,
  }),
  'port-twice': row<{ address: string; port: number; protocol: string }>({
    exit: 2,
    http: 422,
    meaning:
      'Two specifications of one command ask for the same host port, be they equal or one for an address that the other covers.',
    text: p => `${endpoint(p.address, p.port)}/${p.protocol} is used twice in this command`,
  }),
  'no-free-port': row<{ ports: string; protocol: string; why: string }>({
    exit: 1,
    http: 409,
    meaning:
      'A port was to be picked from a range, and none is free on every address asked for; the message says what holds the last one.',
    text: p => `no port of ${p.ports}/${p.protocol} is free: ${p.why}`,
  }),
  'port-denied': row<{ address: string; port: number; protocol: string }>({
    exit: 1,
    http: 403,
    meaning: 'The kernel refuses to let portctl listen on this port: it lacks the privilege.',
    text: p => `not allowed to listen on ${endpoint(p.address, p.port)}/${p.protocol}`,
    hint: p =>
      p.port < 1024 ? 'ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE' : undefined,
  }),
  'address-unavailable': row<{ address: string; port: number; protocol: string }>({
    exit: 1,
    http: 422,
    meaning: 'The host address to listen on is not an address of this host.',
    text: p => `cannot listen on ${endpoint(p.address, p.port)}/${p.protocol}: no such address on this host`,
  }),
  'via-unavailable': row<{ target: string; why: string }>({
    exit: 1,
    http: 422,
    meaning: 'The way asked for with `--via` cannot reach the target.',
    text: p => `the kernel path cannot reach ${p.target}: ${p.why}`,
    hint: () => "leave out '--via kernel' and the relay carries it",
  }),
  'target-loop': row<{ target: string; port: number }>({
    exit: 1,
    http: 422,
    meaning: 'The publication would lead to its own listening port.',
    text: p =>
      `${endpoint(p.target, p.port)} would be reached through the very port that is published: a loop`,
    hint: () => 'name another target with --to, or another host port',
  }),
  'target-ambiguous': row<{ names: string }>({
    exit: 2,
    http: 422,
    meaning: 'There are several containers and no `--to` says which one is meant.',
    text: p => `several containers could be meant: ${p.names}`,
    hint: () => 'say which one with --to NAME',
  }),
  'target-gone': row<{ target: string; why: string }>({
    exit: 1,
    http: 422,
    meaning: 'The process or network namespace to lead to does not exist.',
    text: p => `${p.target}: ${p.why}`,
  }),
  'target-unreachable': row<{ target: string; why: string }>({
    exit: 1,
    http: 422,
    meaning: 'This host has no route to the target address.',
    text: p => `this host cannot reach ${p.target}: ${p.why}`,
  }),
  'publication-not-found': row<{ ref: string }>({
    exit: 1,
    http: 404,
    meaning: 'No publication has this id, name or host port.',
    text: p => `no publication '${p.ref}'`,
    hint: () => "'portctl ls' shows what there is",
  }),
  'port-not-published': row<{ port: string; container: string }>({
    exit: 1,
    http: 404,
    meaning: 'The container has no publication that leads to this port.',
    text: p => `no public port '${p.port}' published for ${p.container}`,
    hint: p => `'portctl port ${p.container}' lists what is published`,
  }),
} as const
