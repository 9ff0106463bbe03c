/**
 * One batch of datagrams, sorted by flow: a list of inbox slots for each flow, in order of arrival, so that what a
 * crowd of clients sent leaves in one call a client.
 *
 * A sparse set: `#entry[flow]` says where the flow's queue is, if it has one; that is so when the queue found
 * there names the flow. So nothing is cleared between batches.
 */
import { NONE } from './udp-flows.ts'
import { grown } from './wheel.ts'

export class FlowQueues {
  /** By queue, in order of first arrival. */
  readonly #flow: Int32Array
  readonly #first: Int32Array
  readonly #last: Int32Array
  /** By slot. */
  readonly #next: Int32Array
  /** By flow. */
  #entry = new Int32Array(0)
  #count = 0

  constructor(slots: number) {
    this.#flow = new Int32Array(slots)
    this.#first = new Int32Array(slots)
    this.#last = new Int32Array(slots)
    this.#next = new Int32Array(slots)
  }

  add(flow: number, slot: number): void {
    if (flow >= this.#entry.length) this.#entry = grown(this.#entry, 2 * (flow + 1))
    const queue = this.#entry[flow] as number
    this.#next[slot] = NONE
    if (queue < this.#count && this.#flow[queue] === flow) {
      this.#next[this.#last[queue] as number] = slot
      this.#last[queue] = slot
      return
    }
    this.#entry[flow] = this.#count
    this.#flow[this.#count] = flow
    this.#first[this.#count] = slot
    this.#last[this.#count] = slot
    this.#count++
  }

  /** The slot behind this one in its queue, or NONE. */
  next(slot: number): number {
    return this.#next[slot] as number
  }

  /** Takes every queue. */
  drain(take: (flow: number, firstSlot: number) => void): void {
    for (let queue = 0; queue < this.#count; queue++)
      take(this.#flow[queue] as number, this.#first[queue] as number)
    this.#count = 0
  }
}
