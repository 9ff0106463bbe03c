/**
 * How many descriptors the data path may have, and where.
 *
 * RLIMIT_NOFILE bounds the *numbers* in a descriptor table, and Linux has a table per thread where the thread asks for
 * one (unshare(2), CLONE_FILES). Every data-path thread asks: a limit that root cannot raise (no CAP_SYS_RESOURCE) then
 * bounds what one thread holds, two descriptors a connection, and not the relay; control gets in however many
 * connections there are; and a thread that is alone with its table counts no references when a call looks one up.
 *
 * Listeners are made by the main thread, in the process's table, and copied into each thread's with pidfd_getfd(2).
 * Where either is forbidden (kernels before 5.6, some seccomp profiles) ordinary threads stay in the process's table. Listeners
 * that do not fit into it live in *annexes*, threads that make their own.
 *
 * Numbers from the ceiling upwards are not for connections, so that a port can still be published, and a shared
 * table still has room for control; of the rest, listeners leave a quarter at least to connections.
 */
import { readdirSync, readlinkSync } from 'node:fs'
import {
  CLONE_FILES,
  type Libc,
  RLIMIT_NOFILE,
  SIG_BLOCK,
  SIGSET_SIZE,
  SYS_PIDFD_GETFD,
  SYS_PIDFD_OPEN,
} from '../../kernel/libc/index.ts'

const RESERVED = 64
const SIGPROF = 27

/** Descriptors from this number on are not for the data path. */
export const ceilingOf = (limit: number): number => Math.max(limit - RESERVED, limit >> 1)

/** Listening sockets that one table may hold under a ceiling. */
export const listenersUnder = (ceiling: number): number => ceiling - (ceiling >> 2)

/** The soft limit: numbers from there on the kernel gives to nobody. */
export const openFilesLimit = (libc: Libc): number => {
  const limits = libc.pin(16)
  libc.prlimit(0, RLIMIT_NOFILE, 0, limits.address)
  return Number(limits.view.getBigUint64(0, true))
}

/** Raises the soft limit to the hard one, and both to fs.nr_open where that is allowed; returns what it is then. */
export const raiseOpenFilesLimit = (libc: Libc, most: number): number => {
  const limits = libc.pin(16)
  libc.prlimit(0, RLIMIT_NOFILE, 0, limits.address)
  const hard = limits.view.getBigUint64(8, true)
  const wanted = BigInt(most)
  for (const limit of wanted > hard ? [wanted, hard] : [hard]) {
    limits.view.setBigUint64(0, limit, true)
    limits.view.setBigUint64(8, limit, true)
    if (libc.prlimit(0, RLIMIT_NOFILE, limits.address, 0) === 0) break
  }
  return openFilesLimit(libc)
}

/**
 * Gives the calling thread a descriptor table of its own. What it inherited is closed there, for a copy would keep
 * the main thread's sockets open after the main thread has closed them, except:
 *   - anonymous inodes (epoll, eventfd, pidfd): this thread's and the main thread's event loops wake each other through them;
 *   - stdin, stdout and stderr, whose numbers nothing else must get.
 * From here on, numbers of the main thread mean nothing to this one, nor the reverse. Signals are kept away, because
 * libuv's handler runs on any thread and writes to a pipe of the main thread's, by its number; not SIGPROF, whose handler
 * is V8's profiler. Returns false, having changed nothing, where it is forbidden.
 */
export const takeOwnDescriptors = (libc: Libc): boolean => {
  if (libc.unshare(CLONE_FILES) < 0) return false
  const everySignal = libc.pin(SIGSET_SIZE)
  everySignal.bytes.fill(0xff)
  everySignal.bytes[(SIGPROF - 1) >> 3] = 0xff & ~(1 << ((SIGPROF - 1) & 7))
  libc.pthread_sigmask(SIG_BLOCK, everySignal.address, 0)
  for (const name of readdirSync('/proc/thread-self/fd')) {
    const fd = Number(name)
    if (fd > 2 && !isAnonymous(fd)) libc.close(fd)
  }
  return true
}

/** Copies a descriptor of the process's table into the calling thread's; a number, or −1 with errno set. */
export type Borrow = (fd: number) => number

interface ProcessTable {
  readonly borrow: Borrow
  close(): void
}

/** Good for as long as it is not closed, wherever the calling thread's own descriptors are by then. */
export const openProcessTable = (libc: Libc): ProcessTable => {
  const pidfd = libc.syscall(SYS_PIDFD_OPEN, process.pid, 0, 0)
  return {
    borrow: fd => libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0),
    close: () => void libc.close(pidfd),
  }
}

/** Whether a thread may borrow; `fd` is any descriptor that is open. */
export const canBorrow = (libc: Libc, fd: number): boolean => {
  const table = openProcessTable(libc)
  const copy = table.borrow(fd)
  if (copy >= 0) libc.close(copy)
  table.close()
  return copy >= 0
}

/** False for what is gone: the directory's own descriptor. */
const isAnonymous = (fd: number): boolean => {
  try {
    return readlinkSync(`/proc/thread-self/fd/${fd}`).startsWith('anon_inode:')
  } catch {
    return false
  }
}
