/** Where listeners go when a descriptor table is full. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_LIMITS, type ServiceSpec } from '../../src/relay/engine.ts'
import { socketsOf } from '../../src/relay/splice/listeners.ts'
import { placeServices } from '../../src/relay/splice/placement.ts'
import { targetPort } from '../../src/relay/splice/services.ts'

const service = (first: number, count: number, addresses: number, single: boolean): ServiceSpec => ({
  id: `${first}`,
  protocol: 'tcp',
  addresses: Array.from({ length: addresses }, (_, i) => `10.0.0.${i}`),
  ports: { first, last: first + count - 1 },
  target: null,
  targetPorts: single ? { first: 80, last: 80 } : { first: first + 1000, last: first + 1000 + count - 1 },
  limits: DEFAULT_LIMITS,
})
const services = fc.array(
  fc
    .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 3 }), fc.boolean())
    .map(([count, addresses, single]) => ({ count, addresses, single })),
  { maxLength: 8 },
)
const room = fc.record({
  here: fc.integer({ min: 0, max: 100 }),
  annexes: fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 3 }),
  newAnnex: fc.integer({ min: 90, max: 400 }),
  limit: fc.constant(1000),
})

describe('placeServices', () => {
  it('gives every port one place, and no table more than fits', () => {
    fc.assert(
      fc.property(services, room, (shapes, free) => {
        const specs = shapes.map(({ count, addresses, single }, i) =>
          service(1000 * (i + 1), count, addresses, single),
        )
        let placements: ReturnType<typeof placeServices>
        try {
          placements = placeServices(specs, free)
        } catch (error) {
          expect(error).toMatchObject({ code: 'fd-limit' })
          return
        }
        const used = new Map<number, number>()
        let here = 0
        placements.forEach((placement, i) => {
          const spec = specs[i] as ServiceSpec
          expect(placement.spec).toBe(spec)
          expect(placement.here).toBe(placement.parts.length === 0)
          if (placement.here) here += socketsOf(spec)
          const mapped = placement.parts.flatMap(part => {
            used.set(part.annex, (used.get(part.annex) ?? 0) + socketsOf(part.spec))
            expect(part.spec.addresses).toEqual(spec.addresses)
            const { first, last } = part.spec.ports
            return Array.from({ length: last - first + 1 }, (_, k) => [first + k, targetPort(part.spec, k)])
          })
          if (!placement.here)
            expect(mapped).toEqual(
              Array.from({ length: spec.ports.last - spec.ports.first + 1 }, (_, k) => [
                spec.ports.first + k,
                targetPort(spec, k),
              ]),
            )
        })
        expect(here).toBeLessThanOrEqual(free.here)
        for (const [annex, sockets] of used)
          expect(sockets).toBeLessThanOrEqual(free.annexes[annex] ?? free.newAnnex)
      }),
    )
  })

  it('names what is needed when no number of annexes is enough', () => {
    const everything = service(1, 60_000, 2, true)
    const free = { here: 100, annexes: [], newAnnex: 1000, limit: 1334 }
    expect(() => placeServices([everything], free)).toThrow('120000 more file descriptors')
  })
})
