/** The splice engine under the suites that every engine passes, with one thread and with several. */
import { createSpliceEngine } from '../../src/relay/splice/index.ts'
import { buildWorker } from './build-worker.ts'
import { describeEngine } from './conformance.ts'

const workerFile = await buildWorker()

describeEngine('splice', () => createSpliceEngine({ workerFile, workers: 1 }))
describeEngine('splice, two threads', () => createSpliceEngine({ workerFile, workers: 2 }))
