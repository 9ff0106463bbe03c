/** A kernel in memory, for tests of the rooms above. Each part passes the conformance tests of the real one. */
import type { Kernel } from '../index.ts'
import { createFakeConntrack } from './conntrack.ts'
import { createFakeLinks } from './links.ts'
import { createFakeNetns } from './netns.ts'
import { createFakeNft } from './nft.ts'
import { createFakeSysctl } from './sysctl.ts'

/** A host that does not forward, on a kernel with `force_forwarding`. */
const SETTINGS = {
  'net/ipv4/ip_forward': '0',
  'net/ipv6/conf/all/forwarding': '0',
  'net/ipv6/conf/all/force_forwarding': '0',
  'net/ipv4/ip_local_port_range': '32768\t60999',
  'net/ipv4/ip_local_reserved_ports': '',
}

export const createFakeKernel = () => {
  const netns = createFakeNetns()
  const sysctl = createFakeSysctl(SETTINGS)
  return {
    nft: createFakeNft(),
    links: createFakeLinks(netns, sysctl),
    netns,
    sysctl,
    conntrack: createFakeConntrack(),
  } satisfies Kernel
}
