/**
 * Sockets in other network namespaces. A socket belongs for good to the namespace its creating *thread* is in; so the
 * thread enters the namespace for that one call and comes back (setns(2)) before any other code of its own runs. Of the
 * main thread others see it: `/proc/self/net` and `/proc/self/ns/net` follow it, for the 9 µs that it is away;
 * `/proc/thread-self` and `/proc/sys/net` go by the thread that opens them.
 */
import { PortctlError } from '../../core/errors.ts'
import { CLONE_NEWNET, errnoName, type Libc, O_CLOEXEC, O_RDONLY } from './index.ts'

/**
 * Runs `make` in the namespace that descriptor `there` leads to, and gives what it gives; −1 with errno set when the
 * namespace cannot be entered, or could not be left again: in a user namespace that shares the network of its parent a
 * process may enter what is its own, but not return to what is its parent's. @throws `syscall-failed` when the thread cannot come back: anything it did from then on
 * would be done in the wrong network, so it must end.
 */
export type Entrance = (there: number, make: () => number) => number

export const openNamespace = (libc: Libc, path: string): number => libc.open(path, O_RDONLY | O_CLOEXEC, 0)

/** Of the calling thread. */
export const createEntrance = (libc: Libc): Entrance => {
  let home = -1
  let returnable = false
  return (there, make) => {
    if (home < 0) home = openNamespace(libc, '/proc/thread-self/ns/net')
    // From home to home, the first time: what would fail on the way back fails here.
    if (!returnable && (home < 0 || libc.setns(home, CLONE_NEWNET) !== 0)) return -1
    returnable = true
    if (libc.setns(there, CLONE_NEWNET) !== 0) return -1
    const made = make()
    if (libc.setns(home, CLONE_NEWNET) !== 0)
      throw PortctlError.of('syscall-failed', {
        call: 'setns',
        subject: 'back from a target namespace',
        errno: errnoName(libc.errno()),
      })
    return made
  }
}
