/**
 * The event loop of a data-path thread: one epoll instance, owned and blocked on by that thread alone.
 *
 * Every connected descriptor is registered once, edge-triggered, and never modified; closing it removes it. What a
 * descriptor *is* is its kind, a byte that selects a handler; what the handler knows about it lives in typed
 * arrays of the handler's own, indexed by descriptor and grown by `onGrow`. No object exists per connection and
 * none is made per event.
 *
 * Edge-triggered means: a handler that stops before EAGAIN must either remember that there is more (and ask to
 * be called `again`, behind everyone else who is ready: that is the fairness rule) or wait for the other end's
 * edge. Level-triggered registration is for listeners only; they alone leave the epoll and come back (`mute`).
 *
 * Descriptor numbers are reused at once, by another thread too where the table is shared. Each registration therefore has a
 * generation, carried in epoll's user data; an event whose generation is not the current one is about a
 * descriptor that was closed earlier in the same batch, and is dropped.
 */

import { PortctlError } from '../../core/errors.ts'
import {
  EINTR,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_DATA_OFFSET,
  EPOLL_EVENT_SIZE,
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  errnoName,
  type Libc,
} from '../../kernel/libc/index.ts'
import { grown, TimerWheel } from './wheel.ts'

/** What a descriptor is. `free`: not registered with this loop. */
export const Kind = { free: 0, wake: 1, tcpListener: 2, tcp: 3, udpListener: 4, udpFlow: 5 } as const
export type Kind = (typeof Kind)[keyof typeof Kind]

export interface FdHandler {
  /** epoll reported `events` (EPOLLIN | …). */
  ready(fd: number, events: number): void
  /** Called once after `loop.again(fd)`, when everyone else who was ready has had a turn. */
  again?(fd: number): void
  /** The timer set by `loop.wheel.set(fd, …)` has run out. */
  expired?(fd: number): void
}

/** All that can happen to a connected socket, edge-triggered. */
export const ALL_EDGES = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET

const BATCH = 256
const STRIDE = EPOLL_EVENT_SIZE / 4
const DATA = EPOLL_DATA_OFFSET / 4
/**
 * Descriptors that there is room for from the start. Reserved, not used: a page is taken when one of its descriptors is
 * first written to. Growing copies every array and leaves the old ones to the collector, so it is for few.
 */
const FIRST_CAPACITY = 65_536

export class Loop {
  /** Milliseconds, monotonic; read once a wake-up. */
  now = performance.now()
  readonly wheel = new TimerWheel(FIRST_CAPACITY, this.now)

  readonly #libc: Libc
  readonly #epoll: number
  readonly #handlers: (FdHandler | undefined)[] = []
  readonly #growers: ((capacity: number) => void)[] = []
  #capacity = FIRST_CAPACITY
  /** No descriptor from here on was ever registered. */
  #end = 0
  #kind = new Uint8Array(FIRST_CAPACITY)
  #generation = new Int32Array(FIRST_CAPACITY)
  #queued = new Uint8Array(FIRST_CAPACITY)
  /** Who wants another turn, and how many; never shortened, for an array that is would be made anew each time. */
  #again: number[] = []
  #waiting = 0
  #turn: number[] = []
  #stopped = false

  constructor(libc: Libc) {
    this.#libc = libc
    this.#epoll = libc.epoll_create1(EPOLL_CLOEXEC)
    if (this.#epoll < 0) throw this.#failed('epoll_create1', 'event loop')
    const registration = libc.pin(EPOLL_EVENT_SIZE)
    this.#registration = new Int32Array(registration.bytes.buffer)
    this.#registrationAt = registration.address
  }
  readonly #registration: Int32Array
  readonly #registrationAt: number

  handle(kind: Kind, handler: FdHandler): void {
    this.#handlers[kind] = handler
  }

  /** Calls `grow` now and whenever descriptors outgrow the arrays; every index below the capacity is then valid. */
  onGrow(grow: (capacity: number) => void): void {
    this.#growers.push(grow)
    grow(this.#capacity)
  }

  get capacity(): number {
    return this.#capacity
  }

  kindOf(fd: number): number {
    return this.#kind[fd] ?? Kind.free
  }

  /** Makes room for `fd` in every array. Call it before writing state for a new descriptor. */
  reserve(fd: number): void {
    if (fd < this.#capacity) return
    while (this.#capacity <= fd) this.#capacity *= 2
    this.#kind = grown(this.#kind, this.#capacity)
    this.#generation = grown(this.#generation, this.#capacity)
    this.#queued = grown(this.#queued, this.#capacity)
    this.wheel.grow(this.#capacity)
    for (const grow of this.#growers) grow(this.#capacity)
  }

  /** Registers a descriptor; false with errno set when epoll refuses. */
  add(fd: number, kind: Kind, events: number): boolean {
    this.reserve(fd)
    const generation = ((this.#generation[fd] as number) + 1) | 0
    this.#generation[fd] = generation
    this.#registration[0] = events
    this.#registration[DATA] = fd
    this.#registration[DATA + 1] = generation
    if (this.#libc.epoll_ctl(this.#epoll, EPOLL_CTL_ADD, fd, this.#registrationAt) < 0) return false
    this.#kind[fd] = kind
    this.#queued[fd] = 0
    if (fd >= this.#end) this.#end = fd + 1
    return true
  }

  /** Stops watching a descriptor that stays open (a paused listener). Its kind and timer stay. */
  mute(fd: number): void {
    this.#libc.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, 0)
  }

  /** Forgets a descriptor that someone else closes; events still on their way are dropped. */
  forget(fd: number): void {
    this.#kind[fd] = Kind.free
    this.#queued[fd] = 0
    this.wheel.clear(fd)
  }

  close(fd: number): void {
    this.forget(fd)
    this.#libc.close(fd)
  }

  /** Asks for `handler.again(fd)` once everyone else who is ready has had a turn. */
  again(fd: number): void {
    if (this.#queued[fd] === 1) return
    this.#queued[fd] = 1
    this.#again[this.#waiting++] = fd
  }

  /** Every registered descriptor of a kind, in any order; `visit` may close descriptors. */
  forEach(kind: Kind, visit: (fd: number) => void): void {
    for (let fd = 0; fd < this.#end; fd++) if (this.#kind[fd] === kind) visit(fd)
  }

  stop(): void {
    this.#stopped = true
  }

  /** Runs until `stop`. */
  run(): void {
    const libc = this.#libc
    const memory = libc.pin(BATCH * EPOLL_EVENT_SIZE)
    const events = new Int32Array(memory.bytes.buffer)
    const expire = (fd: number): void => this.#handlers[this.#kind[fd] as number]?.expired?.(fd)
    while (!this.#stopped) {
      const sleep = this.#waiting > 0 ? 0 : this.wheel.sleep(this.now)
      const n = libc.epoll_wait(this.#epoll, memory.address, BATCH, sleep)
      if (n < 0 && libc.errno() !== EINTR) throw this.#failed('epoll_wait', 'event loop')
      this.now = performance.now()
      for (let i = 0, at = 0; i < n; i++, at += STRIDE) {
        const fd = events[at + DATA] as number
        if (this.#generation[fd] !== events[at + DATA + 1]) continue
        this.#handlers[this.#kind[fd] as number]?.ready(fd, events[at] as number)
      }
      if (this.#waiting > 0) this.#runAgain()
      this.wheel.advance(this.now, expire)
    }
    libc.close(this.#epoll)
  }

  #runAgain(): void {
    const turn = this.#again
    const count = this.#waiting
    this.#again = this.#turn
    this.#turn = turn
    this.#waiting = 0
    for (let i = 0; i < count; i++) {
      const fd = turn[i] as number
      if (this.#queued[fd] === 0) continue
      this.#queued[fd] = 0
      this.#handlers[this.#kind[fd] as number]?.again?.(fd)
    }
  }

  #failed(call: string, subject: string): PortctlError {
    return PortctlError.of('syscall-failed', { call, subject, errno: errnoName(this.#libc.errno()) })
  }
}
