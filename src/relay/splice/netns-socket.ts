/**
 * Sockets towards targets, in the target's network namespace when it has one (kernel/libc/entrance.ts). For data-path
 * threads only: the main thread opens files under /proc/self/net.
 *
 * The namespace's file is opened anew each time: a descriptor kept open would keep the namespace alive, and would
 * lead to the old one after the path has been bound to another.
 */
import { isRunning, type ProcessRef } from '../../core/process-identity.ts'
import { createEntrance, openNamespace } from '../../kernel/libc/entrance.ts'
import type { Libc } from '../../kernel/libc/index.ts'
import type { RelayTarget } from '../engine.ts'

export type Place = { readonly [K in 'netns' | 'process']?: RelayTarget[K] | undefined }

/** Makes a socket in the place's namespace, or here without one; −1 with errno set. */
export type MakeSocket = (place: Place, family: number, type: number) => number

export const socketMaker = (libc: Libc): MakeSocket => {
  const enter = createEntrance(libc)

  const enterable = (path: string, process: ProcessRef | undefined): number => {
    const fd = openNamespace(libc, path)
    if (fd < 0 || process === undefined || isRunning(process)) return fd
    libc.close(fd)
    // Fails with ENOENT, which is what it comes to.
    return openNamespace(libc, '')
  }

  return ({ netns, process }, family, type) => {
    if (netns === undefined) return libc.socket(family, type, 0)
    const there = enterable(netns, process)
    if (there < 0) return -1
    const fd = enter(there, () => libc.socket(family, type, 0))
    libc.close(there)
    return fd
  }
}
