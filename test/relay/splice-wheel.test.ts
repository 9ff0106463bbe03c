/** The timer wheel against a list of what is due. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TimerWheel } from '../../src/relay/splice/wheel.ts'

const IDS = 16
/** A timer may fire that much late, in ms: the wheel's tick. */
const TICK = 32

type Step =
  | { readonly set: number; readonly delay: number }
  | { readonly clear: number }
  | { readonly pass: number }

const id = fc.integer({ min: 0, max: IDS - 1 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ set: id, delay: fc.integer({ min: 0, max: 100_000 }) }),
  fc.record({ clear: id }),
  fc.record({ pass: fc.integer({ min: 0, max: 60_000 }) }),
)

describe('TimerWheel', () => {
  it('fires what is due, once, never early and at most a tick late', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 10_000 }), (steps, start) => {
        let now = start
        const wheel = new TimerWheel(IDS, now)
        const due = new Map<number, number>()
        for (const action of steps) {
          if ('set' in action) {
            wheel.set(action.set, now, action.delay)
            due.set(action.set, now + action.delay)
          } else if ('clear' in action) {
            wheel.clear(action.clear)
            due.delete(action.clear)
          } else {
            now += action.pass
            wheel.advance(now, fired => {
              expect(due.get(fired)).toBeLessThanOrEqual(now)
              due.delete(fired)
            })
            for (const moment of due.values()) expect(moment).toBeGreaterThan(now - TICK)
          }
          for (let i = 0; i < IDS; i++) expect(wheel.has(i)).toBe(due.has(i))
          expect(wheel.sleep(now) === -1).toBe(due.size === 0)
          if (due.size > 0)
            expect(wheel.sleep(now)).toBeLessThanOrEqual(Math.max(0, Math.min(...due.values()) + TICK - now))
        }
      }),
    )
  })

  it('wakes its loop for what is due, once a turn while a timer is far, and once for nothing after a clear', () => {
    const wheel = new TimerWheel(8, 0)
    let now = 0
    let wakes = 0
    const sleepUntilFired = (): void => {
      for (let fired = false; !fired; wakes++) {
        const sleep = wheel.sleep(now)
        expect(sleep).toBeGreaterThan(0)
        now += sleep
        wheel.advance(now, () => {
          fired = true
        })
      }
    }
    wheel.set(1, now, 90_000)
    wheel.set(2, now, 100)
    sleepUntilFired()
    expect(wakes).toBe(1)
    sleepUntilFired()
    expect(now).toBeLessThanOrEqual(90_000 + TICK)
    // The slot that holds it comes round every 32.8 s.
    expect(wakes).toBe(4)
    wakes = 0
    wheel.set(1, now, 1_000)
    wheel.clear(1)
    wheel.set(2, now, 5_000)
    sleepUntilFired()
    expect(wakes).toBe(2)
  })

  it('lets what fires set and clear others, and itself again', () => {
    const wheel = new TimerWheel(8, 0)
    for (const timer of [1, 2, 3]) wheel.set(timer, 0, 10)
    const fired: number[] = []
    wheel.advance(100, timer => {
      fired.push(timer)
      for (const other of [1, 2, 3]) if (other !== timer) wheel.clear(other)
      wheel.set(timer, 100, 10)
    })
    expect(fired.length).toBe(1)
    wheel.advance(200, timer => fired.push(timer))
    expect(fired).toEqual([fired[0], fired[0]])
  })

  it('keeps its timers when it grows', () => {
    const wheel = new TimerWheel(2, 0)
    wheel.set(1, 0, 50)
    wheel.grow(64)
    wheel.set(63, 0, 50)
    const fired: number[] = []
    wheel.advance(1000, timer => fired.push(timer))
    expect(fired.sort((a, b) => a - b)).toEqual([1, 63])
  })
})
