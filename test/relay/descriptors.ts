/** Descriptor tables as /proc shows them, for tests of the splice engine, whose threads have tables of their own. */
import { readdirSync, readlinkSync } from 'node:fs'

const numbersIn = (directory: string): readonly number[] => readdirSync(directory).map(Number)

/** What a descriptor is; undefined when it is gone. */
const linkOf = (directory: string, fd: number): string | undefined => {
  try {
    return readlinkSync(`${directory}/${fd}`)
  } catch {
    return undefined
  }
}

/** The directories of the data-path threads: they alone keep a way to the process's table. */
const dataThreads = (): readonly string[] => {
  const own = readdirSync('/proc/self/task')
    .map(thread => `/proc/self/task/${thread}/fd`)
    .filter(directory => numbersIn(directory).some(fd => linkOf(directory, fd) === 'anon_inode:[pidfd]'))
  if (own.length === 0) throw new Error('no thread has a descriptor table of its own')
  return own
}

/** Descriptors of data-path threads that are sockets, or ends of pipes. */
export const ofDataThreads = (kind: 'socket' | 'pipe'): readonly number[] =>
  dataThreads().flatMap(directory =>
    numbersIn(directory).filter(fd => linkOf(directory, fd)?.startsWith(`${kind}:`)),
  )

/** The soft limit under which the one data-path thread may open so many more: descriptors fill gaps first. */
export const limitThatLeaves = (room: number): number => {
  const used = new Set(dataThreads().flatMap(numbersIn))
  let limit = 0
  for (let free = 0; free < room; limit++) if (!used.has(limit)) free++
  return limit
}
