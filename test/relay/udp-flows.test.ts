import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AF_INET, AF_INET6, loadLibc } from '../../src/kernel/libc/index.ts'
import { emptyFlowList, FlowTable, NONE } from '../../src/relay/splice/udp-flows.ts'
import { FlowQueues } from '../../src/relay/splice/udp-queues.ts'

const libc = await loadLibc()

/** An identity: words as a sockaddr, a listener and a local address would fill them. */
const v4 = fc
  .record({ port: fc.nat(3), address: fc.nat(40), listener: fc.nat(2), local: fc.nat(2) })
  .map(({ port, address, listener, local }) => [
    AF_INET | (port << 16),
    address,
    ...[0, 0, 0, 0, 0],
    listener,
    local,
    ...[0, 0, 0, 0],
  ])
const v6 = fc
  .record({ port: fc.nat(3), address: fc.tuple(fc.nat(3), fc.nat(3)), listener: fc.nat(2), zone: fc.nat(2) })
  .map(({ port, address: [high, low], listener, zone }) => [
    AF_INET6 | (port << 16),
    ...[0, high, 0, 0, low, zone],
    listener,
    ...[high, 0, 0, low, zone],
  ])
const action = fc.record({
  do: fc.constantFrom('use', 'use', 'use', 'drop', 'dropOldest'),
  key: fc.oneof(v4, v6),
  list: fc.nat(1),
})

describe('the flow table', () => {
  it('finds what was added and keeps the order of use, as a map of lists does', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 600 }), actions => {
        const table = new FlowTable(libc)
        const lists = [emptyFlowList(), emptyFlowList()]
        // The oracle: identity → its flow, list and socket, in order of last use.
        const known = new Map<string, { flow: number; list: number; socket: number }>()
        let now = 0
        const drop = (name: string) => {
          const at = known.get(name)
          if (at === undefined) return
          table.remove(lists[at.list] as never, at.flow)
          known.delete(name)
        }
        for (const { do: what, key, list } of actions) {
          const name = key.join()
          const of = lists[list] as ReturnType<typeof emptyFlowList>
          now++
          if (what === 'drop') drop(name)
          else if (what === 'dropOldest') {
            const oldest = [...known].find(([, at]) => at.list === list)
            expect(of.oldest).toBe(oldest?.[1].flow ?? NONE)
            if (oldest !== undefined) drop(oldest[0])
          } else {
            table.key.set(key)
            const at = known.get(name)
            const flow = table.find()
            expect(flow).toBe(at?.flow ?? NONE)
            if (at === undefined) known.set(name, { flow: table.add(of, now, now), list, socket: now })
            else {
              table.touch(lists[at.list] as never, flow, now)
              known.delete(name)
              known.set(name, at)
            }
          }
        }
        for (const [name, { flow, socket }] of known) {
          table.key.set(name.split(',').map(Number))
          expect(table.find()).toBe(flow)
          expect(table.socket(flow)).toBe(socket)
        }
        for (const [i, list] of lists.entries())
          expect(list.size).toBe([...known.values()].filter(at => at.list === i).length)
      }),
      { numRuns: 60 },
    )
  })

  it('grows beyond its first size with every flow in its place', () => {
    const table = new FlowTable(libc)
    const list = emptyFlowList()
    const name = (i: number) => table.key.set([AF_INET | ((i & 0xffff) << 16), i >> 16, 0, 0, 0, 0, 0, 5])
    for (let i = 0; i < 70_000; i++) {
      name(i)
      expect(table.add(list, i, i)).toBeGreaterThanOrEqual(0)
    }
    for (let i = 0; i < 70_000; i += 997) {
      name(i)
      const flow = table.find()
      expect([table.socket(flow), table.lastUse(flow), table.listener(flow)]).toEqual([i, i, 5])
    }
    let length = 0
    for (; list.size > 0; length++) table.remove(list, list.oldest)
    expect([length, list.newest, list.oldest]).toEqual([70_000, NONE, NONE])
  })
})

describe('a batch sorted by flow', () => {
  it('has every slot once, in order of arrival within a flow, flows in order of their first', () => {
    const queues = new FlowQueues(256)
    fc.assert(
      fc.property(fc.array(fc.nat(300), { maxLength: 256 }), flows => {
        const expected = new Map<number, number[]>()
        flows.forEach((flow, slot) => {
          queues.add(flow, slot)
          expected.set(flow, [...(expected.get(flow) ?? []), slot])
        })
        const taken: [number, number[]][] = []
        queues.drain((flow, first) => {
          const slots: number[] = []
          for (let slot = first; slot !== NONE; slot = queues.next(slot)) slots.push(slot)
          taken.push([flow, slots])
        })
        expect(taken).toEqual([...expected])
      }),
    )
  })
})
