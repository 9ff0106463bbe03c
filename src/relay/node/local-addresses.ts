/**
 * The addresses of this host, looked at every two seconds while somebody follows them (Node has no netlink socket to
 * be told by).
 */

import { networkInterfaces } from 'node:os'

export type Follower = (addresses: readonly string[]) => Promise<void>

/** Milliseconds. */
const INTERVAL = 2_000

/** IPv6 link-local addresses carry their zone: `fe80::1%eth0`. */
const look = (family: 4 | 6): readonly string[] =>
  Object.entries(networkInterfaces())
    .flatMap(([name, entries = []]) =>
      entries
        .filter(entry => entry.family === `IPv${family}`)
        .map(entry =>
          entry.family === 'IPv6' && entry.scopeid > 0 ? `${entry.address}%${name}` : entry.address,
        ),
    )
    .sort()

export class LocalAddresses {
  readonly #followers = new Map<Follower, 4 | 6>()
  #timer: NodeJS.Timeout | undefined

  /** Calls the follower now, and resolves when it is done; then again at every look. @returns stops it */
  async follow(family: 4 | 6, follower: Follower): Promise<() => void> {
    this.#followers.set(follower, family)
    this.#timer ??= setInterval(() => this.#tell(), INTERVAL)
    await follower(look(family))
    return () => {
      this.#followers.delete(follower)
      if (this.#followers.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #tell(): void {
    const now = { 4: look(4), 6: look(6) }
    for (const [follower, family] of this.#followers) void follower(now[family])
  }
}
