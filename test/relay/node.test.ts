/** The portable engine under the suites that every engine passes. */
import { fileURLToPath } from 'node:url'
import { createNodeEngine } from '../../src/relay/node/index.ts'
import { describeEngine } from './conformance.ts'

const program = fileURLToPath(new URL('../../dist/relay.cjs', import.meta.url))

describeEngine('node', () => createNodeEngine({ program }))
