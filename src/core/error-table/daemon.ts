/** The daemon, its state, the relay process, and defects. */
import { row } from './row.ts'

export const DAEMON_ERRORS = {
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
  'namespace-served': row<{ pid: number | null }>({
    exit: 1,
    http: 409,
    meaning:
      'Another privileged daemon serves this network namespace; there can be one, because the table and the bridges have one name.',
    text: p =>
      `another portctl daemon${p.pid === null ? '' : ` (pid ${p.pid})`} already serves this network namespace`,
    hint: () => 'use its PORTCTL_RUN_DIR, or stop it first',
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
  internal: row<{ what: string }>({
    exit: 1,
    http: 500,
    meaning: 'A defect in portctl. Please report it with the daemon log.',
    text: p => `internal error: ${p.what}`,
  }),
  'not-permitted': row<{ what: string; needs: string }>({
    exit: 1,
    http: 403,
    meaning: 'The daemon lacks the privilege for this.',
    text: p => `${p.what} needs ${p.needs}`,
    hint: () => 'run the daemon as root',
  }),
} as const
