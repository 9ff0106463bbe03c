/**
 * The command line that runs a command inside a container's network namespace, with a resolv.conf that works
 * there. One process from start to end: each step execs the next, so the pid and the exit status are the command's.
 *
 * `ip netns exec` is not used: it mounts a new /sys over the old one, which hides the cgroups (ip-netns(8)).
 * A host without /etc/resolv.conf has nothing to mount over; its containers do without too.
 */

/** Exit status when the namespace or the mount could not be made: docker's for the same. */
const SETUP_FAILED = 125

/** What is written to the file descriptor of `enterCommand`'s fourth argument when the command is about to start. */
export const ENTERED = 'entered\n'

/**
 * `reportFd`: an open descriptor that gets `ENTERED`, or what kept the command from starting; closed before the
 * command starts.
 */
export const enterCommand = (
  netns: string,
  resolvConf: string,
  command: readonly string[],
  reportFd?: number,
): readonly [file: string, args: readonly string[]] => [
  'nsenter',
  [
    `--net=${netns}`,
    'unshare',
    '--mount',
    '--propagation=slave',
    'sh',
    '-c',
    reportFd === undefined ? `${MOUNT}; exec "$@"` : reporting(reportFd),
    resolvConf,
    ...command,
  ],
]

const MOUNT = `[ ! -e /etc/resolv.conf ] || mount --bind "$0" /etc/resolv.conf || exit ${SETUP_FAILED}`

const reporting = (fd: number): string =>
  `{ ${MOUNT}; } 2>&${fd}; printf '${ENTERED.replace('\n', '\\n')}' >&${fd}; exec ${fd}>&-; exec "$@"`
