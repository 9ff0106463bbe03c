/**
 * Named network namespaces, as ip-netns(8) keeps them: a bind mount of a namespace file at /run/netns/NAME. The mount
 * keeps a namespace alive without a process in it. Two paths are the same namespace when device and inode agree
 * (namespaces(7)).
 */
import { readdir, stat, statfs } from 'node:fs/promises'
import { PortctlError } from '../core/errors.ts'
import { type Execute, firstLine, execute as onHost, succeed } from './process.ts'

const NETNS_DIR = '/run/netns'

export const netnsPath = (name: string): string => `${NETNS_DIR}/${name}`

/** `DEVICE:INODE`; the same text means the same namespace, for as long as it lives. */
export type NetnsIdentity = string

/** Null when there is no such file, or it may not be looked at. */
export const netnsIdentity = async (path: string): Promise<NetnsIdentity | null> => {
  try {
    const { dev, ino } = await stat(path, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return null
  }
}

/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673

/** False also for a name in /run/netns whose namespace is no longer mounted: an empty file (left by a crash). */
export const isNamespace = async (path: string): Promise<boolean> => {
  try {
    return (await statfs(path)).type === NSFS_MAGIC
  } catch {
    return false
  }
}

export const netnsOfPid = (pid: number): string => `/proc/${pid}/ns/net`

/** Names in /run/netns; a name whose namespace is no longer mounted (left by a crash) is among them. */
const listNetns = async (): Promise<readonly string[]> => {
  try {
    return await readdir(NETNS_DIR)
  } catch {
    // The directory is made by the first `ip netns add` after boot.
    return []
  }
}

/** The first name of a namespace given by any path, or null. */
export const nameOfNetns = async (path: string): Promise<string | null> => {
  const identity = await netnsIdentity(path)
  if (identity === null) return null
  for (const name of await listNetns()) if ((await netnsIdentity(netnsPath(name))) === identity) return name
  return null
}

/** Processes inside; those that end while we look, or that may not be looked at, are left out. */
export const pidsInNetns = async (path: string): Promise<readonly number[]> => {
  const identity = await netnsIdentity(path)
  if (identity === null) return []
  const pids = (await readdir('/proc')).filter(entry => /^\d+$/.test(entry)).map(Number)
  const inside = await Promise.all(pids.map(pid => netnsIdentity(netnsOfPid(pid))))
  return pids.filter((_, i) => inside[i] === identity)
}

export interface Netns {
  /** Makes /run/netns/NAME with lo up. Rejects with `netns-exists`. */
  create(name: string): Promise<void>
  /** False when there is none. Processes inside keep the namespace alive, nameless, until they end. */
  remove(name: string): Promise<boolean>
  list(): Promise<readonly string[]>
}

export const createNetns = (execute: Execute = onHost): Netns => {
  const remove = async (name: string): Promise<boolean> => {
    const outcome = await execute('ip', ['netns', 'del', name])
    if (outcome.stderr.includes('No such file')) return false
    succeed('ip', outcome)
    return true
  }
  return {
    create: async name => {
      const added = await execute('ip', ['netns', 'add', name])
      if (added.stderr.includes('File exists')) throw PortctlError.of('netns-exists', { name })
      if (added.exitCode !== 0)
        throw PortctlError.of('tool-failed', { tool: 'ip netns add', why: firstLine(added.stderr) })
      try {
        succeed('ip', await execute('ip', ['-n', name, 'link', 'set', 'lo', 'up']))
      } catch (error) {
        await remove(name)
        throw error
      }
    },
    remove,
    list: listNetns,
  }
}
