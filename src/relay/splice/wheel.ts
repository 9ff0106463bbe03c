/**
 * Timers of a loop: one a file descriptor, on a hashed wheel of intrusive lists in typed arrays, so that setting,
 * clearing and firing are O(1) and allocate nothing. Coarse on purpose: a timer fires 0–1 tick late.
 *
 * A timer for a moment beyond one turn of the wheel stays in its slot and is passed over until its tick has come.
 * What fires may set or clear any timer: due ones are moved to a list of their own before the first is fired.
 *
 * A loop sleeps until a timer may be due, not from tick to tick: an idle thread with a flow or an idle limit would
 * otherwise be woken 31 times a second. Clearing does not look for the next earliest; the loop is then woken once for
 * nothing, and finds the next slot that is not empty. (Many timers beyond one turn fill all slots: tick by tick again.)
 */

/** Milliseconds. */
const TICK = 32
const SLOTS = 1024
/** Milliseconds: epoll_wait takes an int. */
const LONGEST = 2 ** 30
const NONE = -1

export class TimerWheel {
  /** First id of each slot's list; the last entry is the list of timers being fired. */
  readonly #heads = new Int32Array(SLOTS + 1).fill(NONE)
  #next: Int32Array
  #previous: Int32Array
  /** Slot an id is in, plus one; 0: in none. Zero, so that a page nobody wrote to takes no memory. */
  #slot: Int32Array
  #due: Int32Array
  #tick: number
  #size = 0
  /** No timer is due before this tick. */
  #nearest = Number.POSITIVE_INFINITY

  constructor(capacity: number, now: number) {
    this.#next = new Int32Array(capacity)
    this.#previous = new Int32Array(capacity)
    this.#slot = new Int32Array(capacity)
    this.#due = new Int32Array(capacity)
    this.#tick = Math.floor(now / TICK)
  }

  grow(capacity: number): void {
    this.#slot = grown(this.#slot, capacity)
    this.#next = grown(this.#next, capacity)
    this.#previous = grown(this.#previous, capacity)
    this.#due = grown(this.#due, capacity)
  }

  /** Fires once, `delay` ms after `now`; replaces the id's earlier timer. */
  set(id: number, now: number, delay: number): void {
    this.clear(id)
    const due = Math.max(Math.ceil((now + delay) / TICK), this.#tick + 1)
    this.#due[id] = due
    this.#link(id, due % SLOTS)
    this.#size++
    if (due < this.#nearest) this.#nearest = due
  }

  clear(id: number): void {
    if (this.#slot[id] === 0) return
    this.#unlink(id)
    this.#size--
  }

  has(id: number): boolean {
    return this.#slot[id] !== 0
  }

  /** Milliseconds a loop may sleep, −1 (for ever) without timers. */
  sleep(now: number): number {
    if (this.#size === 0) return -1
    return Math.min(Math.max(0, Math.ceil(this.#nearest * TICK - now)), LONGEST)
  }

  advance(now: number, fire: (id: number) => void): void {
    const tick = Math.floor(now / TICK)
    if (tick < this.#nearest) return
    const from = Math.max(this.#tick + 1, tick - SLOTS + 1)
    this.#tick = tick
    for (let t = from; t <= tick; t++) this.#collect(t % SLOTS, tick)
    this.#nearest = this.#nextOccupied()
    for (let id = this.#heads[SLOTS] as number; id !== NONE; id = this.#heads[SLOTS] as number) {
      this.clear(id)
      fire(id)
    }
  }

  /** The next tick whose slot is not empty. */
  #nextOccupied(): number {
    for (let tick = this.#tick + 1; tick <= this.#tick + SLOTS; tick++)
      if (this.#heads[tick % SLOTS] !== NONE) return tick
    return Number.POSITIVE_INFINITY
  }

  #collect(slot: number, tick: number): void {
    let id = this.#heads[slot] as number
    while (id !== NONE) {
      const following = this.#next[id] as number
      if ((this.#due[id] as number) <= tick) {
        this.#unlink(id)
        this.#link(id, SLOTS)
      }
      id = following
    }
  }

  #link(id: number, slot: number): void {
    const head = this.#heads[slot] as number
    this.#slot[id] = slot + 1
    this.#next[id] = head
    this.#previous[id] = NONE
    if (head !== NONE) this.#previous[head] = id
    this.#heads[slot] = id
  }

  #unlink(id: number): void {
    const next = this.#next[id] as number
    const previous = this.#previous[id] as number
    if (next !== NONE) this.#previous[next] = previous
    if (previous !== NONE) this.#next[previous] = next
    else this.#heads[(this.#slot[id] as number) - 1] = next
    this.#slot[id] = 0
  }
}

/** A longer copy, zero-filled at the end. */
export const grown = <A extends Int32Array | Uint8Array | Uint16Array | Float64Array>(
  array: A,
  capacity: number,
): A => {
  const longer = new (array.constructor as new (length: number) => A)(capacity)
  longer.set(array)
  return longer
}
