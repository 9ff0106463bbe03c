import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Holds } from '../../src/daemon/holds.ts'

const holder = () => new ServerResponse(new IncomingMessage(new Socket()))
const LONG = 60_000

let takenBack: string[]
let holds: Holds

beforeEach(() => {
  vi.useFakeTimers()
  takenBack = []
  holds = new Holds(
    {
      unpublish: async ({ refs = [] }) => {
        takenBack.push(...refs)
        if (refs.includes('gone')) throw new Error('no such publication')
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
  expect(takenBack).toEqual(['a', 'gone', 'c'])
})

it('takes back what was held when the holder goes', async () => {
  const [first, second] = [holder(), holder()]
  holds.hold(['a', 'gone', 'b'], first)
  holds.hold(['c'], second)
  await vi.advanceTimersByTimeAsync(LONG)
  expect(takenBack).toEqual([])
  first.emit('close')
  expect(takenBack).toEqual(['a', 'gone', 'b'])
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
