/** What the user, or a client of the API, wrote wrongly. */
import { row } from './row.ts'

export const INPUT_ERRORS = {
  usage: row<{ what: string; verb?: string }>({
    exit: 2,
    http: 400,
    meaning: 'The command line is wrong: an unknown flag, a missing argument, flags that exclude each other.',
    text: p => p.what,
    hint: p => `see 'portctl ${p.verb === undefined ? '' : `${p.verb} `}--help'`,
  }),
  'spec-invalid': row<{ spec: string; part: string; why: string }>({
    exit: 2,
    http: 400,
    meaning:
      'A publish specification (`-p`) does not follow the grammar; the message names the part at fault.',
    text: p => `invalid publish specification '${p.spec}': ${p.part}: ${p.why}`,
  }),
  'name-invalid': row<{ name: string; why: string }>({
    exit: 2,
    http: 400,
    meaning: 'A name is not usable as a container, network or publication name.',
    text: p => `invalid name '${p.name}': ${p.why}`,
  }),
  'target-invalid': row<{ target: string; why: string }>({
    exit: 2,
    http: 400,
    meaning: 'The target (`--to`) is not one of: container name, address, pid:N, netns:NAME|PATH.',
    text: p => `invalid target '${p.target}': ${p.why}`,
  }),
  'address-invalid': row<{ address: string }>({
    exit: 2,
    http: 400,
    meaning: 'A text that should be an IPv4 or IPv6 address is none.',
    text: p => `invalid address '${p.address}'`,
  }),
  'cidr-invalid': row<{ cidr: string; why: string }>({
    exit: 2,
    http: 400,
    meaning: 'A text that should be a network in CIDR form (10.1.0.0/16, fd00::/64) is none.',
    text: p => `invalid network '${p.cidr}': ${p.why}`,
  }),
  'request-invalid': row<{ field: string; why: string }>({
    exit: 1,
    http: 400,
    meaning: 'A request to the API does not have the form that the route takes; the message names the field.',
    text: p => `invalid request: ${p.field}: ${p.why}`,
  }),
  'route-unknown': row<{ method: string; path: string }>({
    exit: 1,
    http: 404,
    meaning: 'The API has no such route. A client newer than the daemon asks for one.',
    text: p => `the API has no route ${p.method} ${p.path}`,
    hint: () => 'docs/openapi.json lists the routes; compare client and daemon with `portctl version`',
  }),
} as const
