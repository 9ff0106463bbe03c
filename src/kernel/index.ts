/** The kernel room's entry: everything that control needs of Linux, as one value, so that a test can hand in another. */
import { type Conntrack, createConntrack } from './conntrack.ts'
import { deleteFlows } from './ctnetlink.ts'
import { createLinks, type Links } from './link.ts'
import { createNetns, type Netns } from './netns.ts'
import { createNft, type Nft } from './nft.ts'
import { nftGeneration } from './nft-generation.ts'
import { execute } from './process.ts'
import { hostSysctl, type Sysctl } from './sysctl.ts'

export interface Kernel {
  readonly nft: Nft
  readonly links: Links
  readonly netns: Netns
  readonly sysctl: Sysctl
  readonly conntrack: Conntrack
}

export const createKernel = (): Kernel => ({
  nft: createNft(execute, nftGeneration),
  links: createLinks(),
  netns: createNetns(),
  sysctl: hostSysctl,
  conntrack: createConntrack(undefined, deleteFlows),
})
