/** What Linux and its tools refuse. */
import { row } from './row.ts'

export const KERNEL_ERRORS = {
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
    hint: () => 'the daemon puts its table right within seconds; then try again',
  }),
  'nft-not-found': row<{ why: string }>({
    exit: 1,
    http: 409,
    meaning: 'nftables refused a transaction because something it names is not there; nothing was changed.',
    text: p => `nft: something the transaction names is not there: ${p.why}`,
    hint: () => 'the daemon puts its table right within seconds; then try again',
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
  'ip-failed': row<{ command: string; why: string }>({
    exit: 1,
    http: 500,
    meaning: 'iproute2 refused to make or change a link, an address or a route.',
    text: p => `'ip ${p.command}' failed: ${p.why}`,
  }),
} as const
