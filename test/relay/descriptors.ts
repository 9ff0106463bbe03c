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

/** The directory of the one data-path thread: it alone keeps a way to the process's table. */
const dataThread = (): string => {
  const directories = readdirSync('/proc/self/task').map(thread => `/proc/self/task/${thread}/fd`)
  const own = directories.find(directory =>
    numbersIn(directory).some(fd => linkOf(directory, fd) === 'anon_inode:[pidfd]'),
  )
  if (own === undefined) throw new Error('no thread has a descriptor table of its own')
  return own
}

/** Descriptors of the data-path thread that are sockets. */
export const socketsOfDataThread = (): readonly number[] => {
  const directory = dataThread()
  return numbersIn(directory).filter(fd => linkOf(directory, fd)?.startsWith('socket:'))
}

/** The soft limit under which the data-path thread may open so many more: descriptors fill gaps first. */
export const limitThatLeaves = (room: number): number => {
  const used = new Set(numbersIn(dataThread()))
  let limit = 0
  for (let free = 0; free < room; limit++) if (!used.has(limit)) free++
  return limit
}
