/** Containers, networks and the commands in them. */
import { row } from './row.ts'

export const CONTAINER_ERRORS = {
  'pool-exhausted': row<{ pool: string }>({
    exit: 1,
    http: 409,
    meaning: 'Every address of the network is handed out.',
    text: p => `no address is free in ${p.pool}`,
  }),
  'address-taken': row<{ address: string; pool: string }>({
    exit: 1,
    http: 409,
    meaning: 'The address asked for is in use on the network.',
    text: p => `address ${p.address} is already in use in ${p.pool}`,
  }),
  'address-out-of-range': row<{ address: string; pool: string; why: string }>({
    exit: 1,
    http: 422,
    meaning: 'The address asked for is not one that the network can hand out.',
    text: p => `address ${p.address} cannot be handed out from ${p.pool}: ${p.why}`,
  }),
  'name-taken': row<{ name: string; owner: string }>({
    exit: 1,
    http: 409,
    meaning: 'The name is in use already; the message says by what.',
    text: p => `the name '${p.name}' is taken by ${p.owner}`,
  }),
  'container-not-found': row<{ name: string; known: string }>({
    exit: 1,
    http: 404,
    meaning: 'No container has this name or id.',
    text: p => `no container '${p.name}'`,
    hint: p => (p.known === '' ? "there are none; start one with 'portctl run'" : `there are: ${p.known}`),
  }),
  'not-found': row<{ ref: string }>({
    exit: 1,
    http: 404,
    meaning: 'Neither a container nor a publication has this name or id.',
    text: p => `nothing is called '${p.ref}'`,
    hint: () => "'portctl ps' and 'portctl ls' show what there is",
  }),
  'container-running': row<{ name: string }>({
    exit: 1,
    http: 409,
    meaning: 'The container has to be stopped first.',
    text: p => `container '${p.name}' is running`,
    hint: p => `'portctl stop ${p.name}' first, or 'portctl rm -f ${p.name}'`,
  }),
  'network-not-found': row<{ name: string }>({
    exit: 1,
    http: 404,
    meaning: 'No network has this name.',
    text: p => `no network '${p.name}'`,
  }),
  'command-failed': row<{ command: string; why: string }>({
    exit: 1,
    http: 422,
    meaning: 'The command of a container could not be started.',
    text: p => `cannot start '${p.command}': ${p.why}`,
  }),
  'command-not-found': row<{ command: string }>({
    exit: 127,
    http: 422,
    meaning: 'The command of `run` or `exec` does not exist, as a path or in PATH. Nothing was made.',
    text: p => `command '${p.command}' not found`,
  }),
  'command-not-executable': row<{ command: string; file: string }>({
    exit: 126,
    http: 422,
    meaning: 'The command of `run` or `exec` is there but is no executable file. Nothing was made.',
    text: p => `cannot run '${p.command}': ${p.file} is not an executable file`,
  }),
  'container-setup-failed': row<{ name: string; why: string }>({
    exit: 1,
    http: 500,
    meaning:
      "The container's network namespace or its resolv.conf could not be entered; the command was not started.",
    text: p => `cannot enter container '${p.name}': ${p.why}`,
  }),
  'no-free-pool': row<{ family: number }>({
    exit: 1,
    http: 409,
    meaning: 'Every private network that a bridge could use overlaps an address or a route of this host.',
    text: p =>
      `no private IPv${p.family} network is free: each one overlaps an address or a route of this host`,
  }),
} as const
