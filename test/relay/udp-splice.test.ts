/** The splice engine's UDP under the suite that every engine passes. */
import { fileURLToPath } from 'node:url'
import { createSpliceEngine } from '../../src/relay/splice/index.ts'
import { describeUdpEngine } from './conformance-udp.ts'

const workerFile = fileURLToPath(new URL('../../dist/relay-worker.cjs', import.meta.url))

describeUdpEngine('splice', () => createSpliceEngine({ workerFile }))
