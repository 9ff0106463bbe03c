/** How many callers share a transaction, and how long one waits for others; on a clock of its own. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Committer, NOTHING } from '../../src/daemon/committer.ts'

/** Milliseconds that a transaction takes. */
const TRANSACTION = 10

/** When each transaction began, and how many shared it. */
let transactions: { readonly at: number; readonly size: number }[]
let committer: Committer

const nothing = async (): Promise<void> => undefined
const delay = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

const newCommitter = (): Committer =>
  new Committer({
    openServices: nothing,
    closeServices: nothing,
    applyRules: nothing,
    invert: operation => operation,
    commit: changes => {
      transactions.push({ at: performance.now(), size: changes.length })
      return delay(TRANSACTION)
    },
    flushFlows: nothing,
    warn: nothing,
  })

const submit = (): Promise<void> =>
  committer.submit(() => ({ ...NOTHING, changes: [{ delete: 'publications', id: 'x' }] }))

/** Asks `times`, and each time again a little after the answer. */
const caller = async (times: number, pause: number): Promise<void> => {
  for (let i = 0; i < times; i++) {
    await submit()
    await delay(pause)
  }
}

beforeEach(() => {
  vi.useFakeTimers()
  transactions = []
  committer = newCommitter()
})
afterEach(() => {
  vi.useRealTimers()
})

test('callers that ask again at once share every transaction, however they came together', async () => {
  const callers = [caller(5, 2)]
  await vi.advanceTimersByTimeAsync(1)
  for (let i = 0; i < 7; i++) callers.push(caller(5, i % 4))
  await vi.advanceTimersByTimeAsync(200)
  await Promise.all(callers)
  expect(transactions.map(({ size }) => size)).toEqual([1, 8, 8, 8, 8, 7])
})

test('a caller who is alone waits for nobody, once it is plain that nobody else comes', async () => {
  const callers = [caller(1, 0), caller(1, 0), caller(4, 0)]
  await vi.advanceTimersByTimeAsync(200)
  await Promise.all(callers)
  const gaps = transactions.slice(1).map(({ at }, i) => at - (transactions[i]?.at ?? 0) - TRANSACTION)
  expect(transactions.map(({ size }) => size)).toEqual([3, 1, 1, 1])
  const [first = 0, ...later] = gaps
  expect(first).toBeGreaterThan(Math.max(...later))
  expect(first).toBeLessThan(TRANSACTION)
})

test('those who keep arriving do not hold up a transaction without end', async () => {
  const callers = Array.from({ length: 20 }, () => caller(1, 0))
  await vi.advanceTimersByTimeAsync(TRANSACTION + 2)
  for (let i = 0; i < 18; i++) {
    callers.push(caller(1, 0))
    await vi.advanceTimersByTimeAsync(4)
  }
  await vi.advanceTimersByTimeAsync(200)
  await Promise.all(callers)
  const [first, second] = transactions
  expect(first?.size).toBe(20)
  expect(second?.size).toBeLessThan(10)
})

test('a change that goes alone gains nothing by waiting, and does not', async () => {
  const alone = () =>
    committer.submit(() => ({ ...NOTHING, changes: [{ delete: 'publications', id: 'x' }] }), { alone: true })
  const all = Promise.all(Array.from({ length: 10 }, alone))
  await vi.advanceTimersByTimeAsync(300)
  await all
  const [first, last] = [transactions.at(0)?.at ?? 0, transactions.at(-1)?.at ?? 0]
  expect(last - first).toBe(9 * TRANSACTION)
})
