/** In a namespace that this process is in: the generation is asked over a socket of its own. */
import { beforeAll, describe } from 'vitest'
import { createFakeNft } from '../../src/kernel/fake/nft.ts'
import { createNft } from '../../src/kernel/nft.ts'
import { nftGeneration } from '../../src/kernel/nft-generation.ts'
import { enterNamespace } from '../relay/udp-peers.ts'
import { generationConformance } from './nft.conformance.ts'

describe('netlink', () => {
  beforeAll(enterNamespace)
  generationConformance(() => createNft(undefined, nftGeneration))
})

describe('the fake', () => {
  generationConformance(createFakeNft)
})
