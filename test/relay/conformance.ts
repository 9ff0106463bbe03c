/** What every engine owes for TCP, said once: streams, failures, services, loops. UDP is in conformance-udp.ts. */
import { describe } from 'vitest'
import type { Engine } from '../../src/relay/engine.ts'
import { describeFailures } from './conformance-failures.ts'
import { describeLoops } from './conformance-loops.ts'
import { describeServices } from './conformance-services.ts'
import { describeStreams } from './conformance-streams.ts'
import { tcpBed } from './tcp-bed.ts'

export const describeEngine = (name: string, factory: () => Engine | Promise<Engine>): void => {
  describe(`${name}: TCP`, () => {
    const bed = tcpBed(factory)
    describeStreams(bed)
    describeFailures(bed)
    describeServices(bed)
    describeLoops(bed)
  })
}
