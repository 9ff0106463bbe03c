/** The process behind a port that bind(2) refused, for the error message. */
import { isWildcard } from '../core/address.ts'
import { portOwners } from '../kernel/sockets.ts'

/** `nginx (pid 1234)`; undefined when it can't be found out. */
export const ownerOf = async (
  protocol: string,
  address: string,
  port: number,
): Promise<string | undefined> => {
  if (protocol !== 'tcp' && protocol !== 'udp') return undefined
  const v6 = address.includes(':')
  const owners = (await portOwners(protocol, port)).filter(owner => owner.pid !== null)
  const family = owners.filter(owner => owner.address.includes(':') === v6)
  const exact = family.find(
    owner => owner.address === address || isWildcard(owner.address) || isWildcard(address),
  )
  const found = exact ?? owners[0]
  return found === undefined ? undefined : `${found.process} (pid ${found.pid})`
}
