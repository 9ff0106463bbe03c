/**
 * How many descriptors the data path may have, and where.
 *
 * RLIMIT_NOFILE bounds the *numbers* in a descriptor table, and Linux has a table per thread where the thread asks for
 * one (unshare(2), CLONE_FILES). So a limit that root cannot raise (no CAP_SYS_RESOURCE) need not bound the number of
 * published ports: an *annex* is a thread with a table of its own, for listeners that do not fit into the process's.
 *
 * The numbers from the ceiling upwards are left to the main thread, so that control gets in however many
 * connections there are; a quarter of the rest at least is left to connections.
 */
import { readdirSync, readlinkSync } from 'node:fs'
import { PortctlError } from '../../core/errors.ts'
import {
  CLONE_FILES,
  errnoName,
  type Libc,
  RLIMIT_NOFILE,
  SIG_BLOCK,
  SIGSET_SIZE,
} from '../../kernel/libc/index.ts'

const RESERVED = 64

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
 *   - anonymous inodes (epoll, eventfd): this thread's and the main thread's event loops wake each other through them;
 *   - stdin, stdout and stderr, whose numbers nothing else must get.
 * From here on, numbers of the main thread mean nothing to this one, nor the reverse. Signals are kept away, because
 * libuv's handler runs on any thread and writes to a pipe of the main thread's, by its number.
 */
export const takeOwnDescriptors = (libc: Libc): void => {
  const everySignal = libc.pin(SIGSET_SIZE)
  everySignal.bytes.fill(0xff)
  libc.pthread_sigmask(SIG_BLOCK, everySignal.address, 0)
  if (libc.unshare(CLONE_FILES) < 0)
    throw PortctlError.of('syscall-failed', {
      call: 'unshare',
      subject: 'descriptor table',
      errno: errnoName(libc.errno()),
    })
  for (const name of readdirSync('/proc/thread-self/fd')) {
    const fd = Number(name)
    if (fd > 2 && !isAnonymous(fd)) libc.close(fd)
  }
}

/** False for what is gone: the directory's own descriptor. */
const isAnonymous = (fd: number): boolean => {
  try {
    return readlinkSync(`/proc/thread-self/fd/${fd}`).startsWith('anon_inode:')
  } catch {
    return false
  }
}
