/** /proc/sys in memory. A key that is not given does not exist. Interdependent keys (`all`) are not simulated. */
import { PortctlError } from '../../core/errors.ts'
import type { Sysctl } from '../sysctl.ts'

export interface FakeSysctl extends Sysctl {
  readonly values: Map<string, string>
  /** Refuses to write these, as a read-only /proc/sys does. */
  readonly readOnly: Set<string>
}

export const createFakeSysctl = (values: Readonly<Record<string, string>> = {}): FakeSysctl => {
  const held = new Map(Object.entries(values))
  const readOnly = new Set<string>()
  return {
    values: held,
    readOnly,
    list: async folder => {
      const inside = [...held.keys()].filter(key => key.startsWith(`${folder}/`))
      return [...new Set(inside.map(key => key.slice(folder.length + 1).split('/')[0] as string))]
    },
    read: async key => held.get(key) ?? null,
    write: async settings => {
      for (const { key, value } of settings) {
        if (!held.has(key)) throw PortctlError.of('sysctl-failed', { key, why: 'ENOENT' })
        if (readOnly.has(key)) throw PortctlError.of('sysctl-failed', { key, why: 'EROFS' })
        held.set(key, value)
      }
    },
  }
}
