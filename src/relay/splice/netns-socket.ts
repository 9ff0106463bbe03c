/**
 * Sockets in other network namespaces. A socket belongs for good to the namespace its creating *thread* is in; so
 * the thread enters the namespace for that one call and comes back (setns(2)) before any other code runs.
 * For data-path threads only, never the main thread.
 *
 * The namespace's file is opened anew each time: a descriptor kept open would keep the namespace alive, and would
 * lead to the old one after the path has been bound to another.
 */
import { PortctlError } from '../../core/errors.ts'
import { isRunning, type ProcessRef } from '../../core/process-identity.ts'
import { CLONE_NEWNET, errnoName, type Libc, O_CLOEXEC, O_RDONLY } from '../../kernel/libc/index.ts'
import type { RelayTarget } from '../engine.ts'

export type Place = { readonly [K in 'netns' | 'process']?: RelayTarget[K] | undefined }

/** Makes a socket in the place's namespace, or here without one; −1 with errno set. */
export type MakeSocket = (place: Place, family: number, type: number) => number

export const socketMaker = (libc: Libc): MakeSocket => {
  const namespace = (path: string): number => libc.open(path, O_RDONLY | O_CLOEXEC, 0)
  let home = -1

  const enterable = (path: string, process: ProcessRef | undefined): number => {
    const fd = namespace(path)
    if (fd < 0 || process === undefined || isRunning(process)) return fd
    libc.close(fd)
    // Fails with ENOENT, which is what it comes to.
    return namespace('')
  }

  return ({ netns, process }, family, type) => {
    if (netns === undefined) return libc.socket(family, type, 0)
    if (home < 0) home = namespace('/proc/thread-self/ns/net')
    const there = home < 0 ? -1 : enterable(netns, process)
    if (there < 0) return -1
    let fd = -1
    if (libc.setns(there, CLONE_NEWNET) === 0) {
      fd = libc.socket(family, type, 0)
      // Anything this thread did from here on would be done in the wrong network.
      if (libc.setns(home, CLONE_NEWNET) !== 0)
        throw PortctlError.of('syscall-failed', {
          call: 'setns',
          subject: 'back from a target namespace',
          errno: errnoName(libc.errno()),
        })
    }
    libc.close(there)
    return fd
  }
}
