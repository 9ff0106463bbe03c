/** The portable engine under the suites that every engine passes. */
import { fileURLToPath } from 'node:url'
import { createNodeEngine } from '../../src/relay/node/index.ts'
import { describeUdpEngine } from './conformance-udp.ts'

const program = fileURLToPath(new URL('../../dist/relay.cjs', import.meta.url))

describeUdpEngine('node', () => createNodeEngine({ program }))
