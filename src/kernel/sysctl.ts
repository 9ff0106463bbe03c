/**
 * /proc/sys, in the slash form of sysctl(8): `net/ipv4/conf/eth0.100/forwarding` (an interface name may hold dots,
 * never slashes). What is under `net/` belongs to the network namespace of whoever opens the file.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { PortctlError } from '../core/errors.ts'
import { firstLine, inNetns } from './process.ts'

export interface Setting {
  readonly key: string
  readonly value: string
}

export interface Sysctl {
  /** Without the newline at the end; null when this kernel, or this interface, has no such key. */
  read(key: string): Promise<string | null>
  /** In order; rejects with `sysctl-failed` at the first that is refused. */
  write(settings: readonly Setting[]): Promise<void>
}

const pathOf = (key: string): string => `/proc/sys/${key}`

const errnoOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

/** Of the namespace this process is in. */
export const hostSysctl: Sysctl = {
  read: async key => {
    try {
      return (await readFile(pathOf(key), 'utf8')).trimEnd()
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return null
      throw PortctlError.of('sysctl-failed', { key, why: errnoOf(error) }, { cause: error })
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
    write: async settings => {
      if (settings.length === 0) return
      const args = settings.map(({ key, value }) => `${key}=${value}`)
      const { exitCode, stderr } = await execute('sysctl', ['-qw', ...args])
      const keys = settings.map(setting => setting.key).join(', ')
      if (exitCode !== 0) throw PortctlError.of('sysctl-failed', { key: keys, why: firstLine(stderr) })
    },
  }
}
