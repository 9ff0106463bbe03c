import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NOTHING } from '../../src/plan/index.ts'
import { applyAll, diff, invert } from '../../src/plan/operations.ts'
import { desired, unordered } from './desired.ts'

test('the way from one state to another leads there', () => {
  fc.assert(
    fc.property(desired, desired, (before, after) => {
      expect(unordered(applyAll(before, diff(before, after)))).toEqual(unordered(after))
    }),
  )
})

test('there is nothing to do between a state and itself', () => {
  fc.assert(
    fc.property(desired, state => {
      expect(diff(state, structuredClone(state))).toEqual([])
    }),
  )
})

test('the way back undoes the way there, step by step', () => {
  fc.assert(
    fc.property(desired, desired, (before, after) => {
      let state = before
      for (const operation of diff(before, after)) {
        const next = applyAll(state, [operation])
        expect(unordered(applyAll(next, [invert(operation)]))).toEqual(unordered(state))
        expect(invert(invert(operation))).toEqual(operation)
        state = next
      }
    }),
  )
})

test('a publication that changes is removed before anything is added', () => {
  const forward = {
    publication: '000000000001',
    protocol: 'tcp' as const,
    hostIps: ['0.0.0.0'],
    ports: { first: 8080, last: 8080 },
    to: { 4: '172.18.0.2' },
    toPorts: { first: 80, last: 80 },
  }
  const moved = { ...forward, to: { 4: '172.18.0.3' } }
  expect(diff({ ...NOTHING, forwards: [forward] }, { ...NOTHING, forwards: [moved] })).toEqual([
    { op: 'remove-forward', forward },
    { op: 'add-forward', forward: moved },
  ])
})
