/**
 * The one error table: every failure portctl reports has a row here, with its exit status, its HTTP status,
 * the text shown to the user and, where there is one, what to do about it. `docs/errors.md` is generated from it.
 *
 * A row's `text` names the culprit; `hint` is a second line that says what to do. Both are pure functions of the
 * row's parameters, so an error crosses the API as `{code, message, hint}` and reads the same on both sides.
 */

export interface Row<P> {
  /** Exit status of the command: 1 it failed, 2 the command line is wrong; 126 and 127 as a shell has them. */
  readonly exit: 1 | 2 | 126 | 127
  /** Status of the API's answer. */
  readonly http: 400 | 403 | 404 | 409 | 422 | 500 | 502 | 503 | 504 | 507
  /** What it means, in a sentence, for docs/errors.md. */
  readonly meaning: string
  readonly text: (p: P) => string
  readonly hint?: (p: P) => string | undefined
}

const row = <P>(r: Row<P>): Row<P> => r

const endpoint = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

export const ERRORS = {
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
  'tool-missing': row<{ tool: string }>({
    exit: 1,
    http: 503,
    meaning: 'A helper program that is needed (nft, ip, conntrack, nsenter) is not installed or not in PATH.',
    text: p => `'${p.tool}' is not installed or not in PATH`,
  }),
  'tool-failed': row<{ tool: string; why: string }>({
    exit: 1,
    http: 500,
    meaning: 'A helper program failed; the message has the first line it wrote to stderr.',
    text: p => `'${p.tool}' failed: ${p.why}`,
  }),
  'nft-exists': row<{ why: string }>({
    exit: 1,
    http: 409,
    meaning: 'nftables refused a transaction because something in it exists already; nothing was changed.',
    text: p => `nft: something in the transaction exists already: ${p.why}`,
    hint: () => "'portctl reconcile' puts the table right",
  }),
  'nft-not-found': row<{ why: string }>({
    exit: 1,
    http: 409,
    meaning: 'nftables refused a transaction because something it names is not there; nothing was changed.',
    text: p => `nft: something the transaction names is not there: ${p.why}`,
    hint: () => "'portctl reconcile' puts the table right",
  }),
  'nft-denied': row<{ why: string }>({
    exit: 1,
    http: 403,
    meaning: 'The process may not change nftables (CAP_NET_ADMIN in the network namespace is missing).',
    text: p => `nft: no permission: ${p.why}`,
    hint: () => 'run as root, or with CAP_NET_ADMIN',
  }),
  'nft-failed': row<{ why: string }>({
    exit: 1,
    http: 500,
    meaning: 'nftables refused a transaction for another reason; nothing was changed.',
    text: p => `nft: ${p.why}`,
  }),
  'libc-unavailable': row<{ why: string }>({
    exit: 1,
    http: 503,
    meaning: 'The C library cannot be called from Node on this machine, so the `splice` engine cannot run.',
    text: p => `cannot call libc: ${p.why}`,
    hint: () => "the portable engine works without it: '--engine node'",
  }),
  'port-taken': row<{ address: string; port: number; protocol: string; owner?: string }>({
    exit: 1,
    http: 409,
    meaning: 'Something else holds the host port; the message names the owner where it can be found.',
    text: p =>
      `${endpoint(p.address, p.port)}/${p.protocol} is already in use${p.owner === undefined ? '' : ` by ${p.owner}`}`,
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
  'fd-limit': row<{ needed: number; limit: number }>({
    exit: 1,
    http: 503,
    meaning: 'More file descriptors are needed than the process may open.',
    text: p => `${p.needed} more file descriptors are needed; the limit of the process is ${p.limit}`,
    hint: () => 'raise the hard limit of open files (ulimit -Hn, LimitNOFILE=) or fs.nr_open',
  }),
  'syscall-failed': row<{ call: string; errno: string; subject: string }>({
    exit: 1,
    http: 500,
    meaning: 'A system call failed in a way portctl has no better words for.',
    text: p => `${p.call}: ${p.subject}: ${p.errno}`,
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
  'daemon-unreachable': row<{ socket: string; why: string }>({
    exit: 1,
    http: 503,
    meaning: 'No daemon answers on the socket of this run directory.',
    text: p => `no portctl daemon answers on ${p.socket}: ${p.why}`,
    hint: p =>
      p.why.includes('permission')
        ? 'run the command as root, or as a user who may write to the socket'
        : "start one with 'portctl daemon', or choose another instance with PORTCTL_RUN_DIR",
  }),
  'daemon-gone': row<{ what: string; changes: boolean }>({
    exit: 1,
    http: 502,
    meaning:
      'The connection to the daemon was lost in the middle of a request. A change that it carried may or may not have been made.',
    text: p =>
      `the portctl daemon went away in the middle of '${p.what}'${p.changes ? ': the outcome is unknown' : ''}`,
    hint: p =>
      p.changes
        ? "see 'portctl ls' and 'portctl ps' for what stands, then repeat the command if it is missing"
        : 'repeat the command',
  }),
  'daemon-running': row<{ runDir: string; pid: number | null }>({
    exit: 1,
    http: 409,
    meaning: 'Another daemon serves this run directory.',
    text: p => `a portctl daemon is already running on ${p.runDir}${p.pid === null ? '' : ` (pid ${p.pid})`}`,
    hint: () => 'stop it first, or choose another instance with PORTCTL_RUN_DIR and PORTCTL_STATE_DIR',
  }),
  'state-in-use': row<{ stateDir: string; pid: number | null }>({
    exit: 1,
    http: 409,
    meaning: 'The state directory belongs to a daemon that is running on another run directory.',
    text: p => `state in ${p.stateDir} is in use by another daemon${p.pid === null ? '' : ` (pid ${p.pid})`}`,
    hint: () => 'choose another directory with PORTCTL_STATE_DIR: instances do not share state',
  }),
  'daemon-start-failed': row<{ why: string; log: string }>({
    exit: 1,
    http: 503,
    meaning: 'The daemon was started in the background and did not get ready.',
    text: p => `the portctl daemon did not start: ${p.why}`,
    hint: p => `its log is ${p.log}`,
  }),
  'state-corrupt': row<{ file: string; offset: number; why: string }>({
    exit: 1,
    http: 500,
    meaning:
      'A file of the state store is damaged in the middle, where no interrupted write can have left it so. Nothing is read past the damage and nothing is overwritten.',
    text: p => `state file ${p.file} is damaged at byte ${p.offset}: ${p.why}`,
    hint: p => `restore ${p.file} from a backup, or move it away to start with empty state`,
  }),
  'state-write-failed': row<{ file: string; why: string }>({
    exit: 1,
    http: 507,
    meaning: 'A change could not be made durable (no space, read-only or failing disk). It was not made.',
    text: p => `cannot write state to ${p.file}: ${p.why}`,
    hint: () => 'free space or repair the disk, then repeat the command: nothing was changed',
  }),
  'state-unreadable': row<{ path: string; why: string }>({
    exit: 1,
    http: 500,
    meaning: 'The run or state directory, or a file in it, cannot be made or opened.',
    text: p => `cannot open ${p.path}: ${p.why}`,
    hint: () => 'run as root, or choose other directories with PORTCTL_RUN_DIR and PORTCTL_STATE_DIR',
  }),
  'relay-unavailable': row<Record<never, never>>({
    exit: 1,
    http: 503,
    meaning: 'The relay process does not answer: it ended, or another control took it over.',
    text: () => 'the relay process is not there',
    hint: () => 'control starts another one by itself: try again',
  }),
  'relay-start-failed': row<{ why: string }>({
    exit: 1,
    http: 500,
    meaning: 'The relay process could not be started; its last words are in the log.',
    text: p => `the relay process could not be started: ${p.why}`,
  }),
  'relay-running': row<{ path: string }>({
    exit: 1,
    http: 409,
    meaning: 'Another relay process answers on the socket, so a second one may not serve there.',
    text: p => `another relay process serves ${p.path}`,
  }),
  'relay-timeout': row<{ call: string; milliseconds: number }>({
    exit: 1,
    http: 504,
    meaning: 'The relay process is there but did not answer in time.',
    text: p => `the relay process did not answer '${p.call}' within ${p.milliseconds} ms`,
  }),
  'ip-failed': row<{ command: string; why: string }>({
    exit: 1,
    http: 500,
    meaning: 'iproute2 refused to make or change a link, an address or a route.',
    text: p => `'ip ${p.command}' failed: ${p.why}`,
  }),
  'netns-exists': row<{ name: string }>({
    exit: 1,
    http: 409,
    meaning: 'A network namespace of this name exists already and is not one of portctl.',
    text: p => `a network namespace named '${p.name}' exists already`,
    hint: p => `see 'ip netns pids ${p.name}'; 'ip netns del ${p.name}' removes it`,
  }),
  'sysctl-failed': row<{ key: string; why: string }>({
    exit: 1,
    http: 500,
    meaning: 'A kernel setting could not be read or changed (often /proc/sys is mounted read-only).',
    text: p => `sysctl ${p.key.replaceAll('/', '.')}: ${p.why}`,
  }),
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
  'no-free-pool': row<{ family: number }>({
    exit: 1,
    http: 409,
    meaning: 'Every private network that a bridge could use overlaps an address or a route of this host.',
    text: p =>
      `no private IPv${p.family} network is free: each one overlaps an address or a route of this host`,
  }),
  internal: row<{ what: string }>({
    exit: 1,
    http: 500,
    meaning: 'A defect in portctl. Please report it with the daemon log.',
    text: p => `internal error: ${p.what}`,
  }),
  'name-taken': row<{ name: string; owner: string }>({
    exit: 1,
    http: 409,
    meaning: 'The name is in use already; the message says by what.',
    text: p => `the name '${p.name}' is taken by ${p.owner}`,
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
  'container-not-found': row<{ name: string; known: string }>({
    exit: 1,
    http: 404,
    meaning: 'No container has this name or id.',
    text: p => `no container '${p.name}'`,
    hint: p => (p.known === '' ? "there are none; start one with 'portctl run'" : `there are: ${p.known}`),
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
  'port-not-published': row<{ port: string; container: string }>({
    exit: 1,
    http: 404,
    meaning: 'The container has no publication that leads to this port.',
    text: p => `no public port '${p.port}' published for ${p.container}`,
    hint: p => `'portctl port ${p.container}' lists what is published`,
  }),
  'not-permitted': row<{ what: string; needs: string }>({
    exit: 1,
    http: 403,
    meaning: 'The daemon lacks the privilege for this.',
    text: p => `${p.what} needs ${p.needs}`,
    hint: () => 'run the daemon as root',
  }),
} as const
