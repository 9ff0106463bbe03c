import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Holds } from '../../src/daemon/holds.ts'

const holder = () => new ServerResponse(new IncomingMessage(new Socket()))
const LONG = 60_000

/** One element a request. */
let takenBack: (readonly string[])[]
let holds: Holds

beforeEach(() => {
  vi.useFakeTimers()
  takenBack = []
  holds = new Holds(
    {
      unpublish: async ({ refs = [], missingOk }) => {
        takenBack.push(refs)
        expect(missingOk).toBe(true)
        return { publications: [] }
      },
    },
    pino({ level: 'silent' }),
  )
})
afterEach(() => {
  vi.useRealTimers()
})

it('takes back what nobody comes for, and only that', async () => {
  holds.expect(['a', 'b', 'gone', 'c'])
  holds.hold(['b'], holder())
  expect(takenBack).toEqual([])
  await vi.advanceTimersByTimeAsync(LONG)
  expect(takenBack).toEqual([['a', 'gone', 'c']])
})

it('takes back what was held when the holder goes', async () => {
  const [first, second] = [holder(), holder()]
  holds.hold(['a', 'gone', 'b'], first)
  holds.hold(['c'], second)
  await vi.advanceTimersByTimeAsync(LONG)
  expect(takenBack).toEqual([])
  first.emit('close')
  expect(takenBack).toEqual([['a', 'gone', 'b']])
})

it('takes back at once what is to be held for somebody who has hung up', () => {
  const late = holder()
  late.destroy()
  holds.expect(['a'])
  holds.hold(['a'], late)
  expect(takenBack).toEqual([['a']])
})

it('leaves all as it is when the server closes', async () => {
  const response = holder()
  holds.hold(['a'], response)
  holds.expect(['b'])
  holds.close()
  response.emit('close')
  await vi.advanceTimersByTimeAsync(LONG)
  expect(takenBack).toEqual([])
})
