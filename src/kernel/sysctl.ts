/**
 * /proc/sys, in the slash form of sysctl(8): `net/ipv4/conf/eth0.100/forwarding` (an interface name may hold dots,
 * never slashes). What is under `net/` belongs to the network namespace of whoever opens the file.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { PortctlError } from '../core/errors.ts'
import { firstLine, inNetns } from './process.ts'

export interface Setting {
  readonly key: string
  readonly value: string
}

export interface Sysctl {
  /** Without the newline at the end; null when this kernel, or this interface, has no such key. */
  read(key: string): Promise<string | null>
  /** What is in a folder, in any order: interfaces, in `net/ipv4/conf`. Empty when there is no such folder. */
  list(folder: string): Promise<readonly string[]>
  /** In order; rejects with `sysctl-failed` at the first that is refused. */
  write(settings: readonly Setting[]): Promise<void>
}

const pathOf = (key: string): string => `/proc/sys/${key}`

const errnoOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

/**
 * Of the namespace this process is in. Read without a trip through the thread pool, since the kernel answers from
 * memory: control reads some of these every few seconds, and the trips were most of what an idle daemon did.
 */
export const hostSysctl: Sysctl = {
  read: async key => {
    try {
      return readFileSync(pathOf(key), 'utf8').trimEnd()
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null
      throw PortctlError.of('sysctl-failed', { key, why: errnoOf(error) }, { cause: error })
    }
  },
  list: async folder => {
    try {
      return readdirSync(pathOf(folder))
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return []
      throw PortctlError.of('sysctl-failed', { key: folder, why: errnoOf(error) }, { cause: error })
    }
  },
  write: async settings => {
    for (const { key, value } of settings) {
      try {
        await writeFile(pathOf(key), value)
      } catch (error) {
        throw PortctlError.of('sysctl-failed', { key, why: errnoOf(error) }, { cause: error })
      }
    }
  },
}

/** Of another namespace: one process start a call, so write what belongs together at once. */
export const netnsSysctl = (netns: string): Sysctl => {
  const execute = inNetns(netns)
  return {
    read: async key => {
      const { exitCode, stdout, stderr } = await execute('cat', [pathOf(key)])
      if (exitCode === 0) return stdout.trimEnd()
      if (stderr.includes('No such file')) return null
      throw PortctlError.of('sysctl-failed', { key, why: firstLine(stderr) })
    },
    list: async folder => {
      const { exitCode, stdout, stderr } = await execute('ls', ['-1', pathOf(folder)])
      if (exitCode === 0) return stdout.split('\n').filter(name => name !== '')
      if (stderr.includes('No such file')) return []
      throw PortctlError.of('sysctl-failed', { key: folder, why: firstLine(stderr) })
    },
    write: async settings => {
      if (settings.length === 0) return
      const args = settings.map(({ key, value }) => `${key}=${value}`)
      const { exitCode, stderr } = await execute('sysctl', ['-qw', ...args])
      const keys = settings.map(setting => setting.key).join(', ')
      if (exitCode !== 0) throw PortctlError.of('sysctl-failed', { key: keys, why: firstLine(stderr) })
    },
  }
}
