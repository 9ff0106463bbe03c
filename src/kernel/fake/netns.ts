/** Names of namespaces, without the namespaces. */
import { PortctlError } from '../../core/errors.ts'
import type { Netns } from '../netns.ts'

export const createFakeNetns = (): Netns => {
  const names = new Set<string>()
  return {
    create: async name => {
      if (names.has(name)) throw PortctlError.of('netns-exists', { name })
      names.add(name)
    },
    remove: async name => names.delete(name),
    list: async () => [...names],
  }
}
