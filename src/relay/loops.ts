/** What the guards against loops of services have in common, for both engines and both protocols. */
import { statSync } from 'node:fs'

/** Services that one connection or datagram may pass. */
export const MAX_HOPS = 8

/** Whether the file is this process's own network namespace (or is not named at all): its loopback is this host's. */
export const isOwnNamespace = (netns: string | undefined): boolean => {
  if (netns === undefined) return true
  try {
    const [there, here] = [statSync(netns), statSync('/proc/self/ns/net')]
    return there.ino === here.ino && there.dev === here.dev
  } catch {
    return false
  }
}
