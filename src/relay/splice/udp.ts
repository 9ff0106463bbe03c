/**
 * UDP on the data path. Each client of each listener is a *flow* with a connected socket of its own to the target
 * (udp-flows.ts): the kernel finds the flow of an answer, and tells each flow alone when its target refuses.
 *
 * client → target: a listener's datagrams are taken in a batch (udp-inbox.ts), sorted by flow (udp-queues.ts), and
 * each flow's leave in one call.
 * target → client: the answers of all flows that are ready in one turn of the loop gather in the outbox and leave
 * through their listener in one call, with the address that the client asked as their source.
 * Payloads stay where recvmmsg put them; slot `i` of the inbox backs piece `i` of the gathered answers.
 *
 * Life of a flow: made by the first datagram of an unknown client; ended by `flowTimeout` without a datagram
 * either way, by a retarget or close of its service, or, being the one unused for longest, to make room (its
 * service is at `maxConnections`, or no descriptor or source port is left). Ends are silent: UDP has no word for it.
 * The timeout is one timer a service, on its first listener, set for the oldest flow.
 *
 * Both kinds of descriptor are level-triggered: what one batch leaves comes up again after everyone else.
 *
 * A service is carried by one thread, chosen by the engine: its flows, their order and their bound are then exact
 * without locks, and a flow's datagrams keep their order. SO_REUSEPORT sockets, one a thread, would spread one
 * port over cores, but then any process of the same user could join the port and bind(2) would report no conflict.
 *
 * Invariants: no answer is pending while a flow is added or removed or a listener is read (`#flush` comes first),
 * because pending answers point into the inbox and at flow records. No flow is removed while it has datagrams of
 * the batch queued (`#forwardAll` comes first).
 */
import { EAGAIN, ECONNREFUSED, EMFILE, ENFILE, EPOLLIN, type Libc } from '../../kernel/libc/index.ts'
import { Locality } from './locality.ts'
import { Kind, type Loop } from './loop.ts'
import {
  COUNTERS,
  type Context,
  Counter,
  type ProtocolHandler,
  type Service,
  targetPort,
} from './services.ts'
import { emptyFlowList, type FlowList, FlowTable, NONE } from './udp-flows.ts'
import { Inbox } from './udp-inbox.ts'
import { LoopGuard } from './udp-loops.ts'
import { Outbox } from './udp-outbox.ts'
import { FlowQueues } from './udp-queues.ts'
import { type UdpSockets, udpSockets } from './udp-sockets.ts'
import { grown } from './wheel.ts'

export const createUdp = (context: Context): ProtocolHandler => new UdpRelay(context)

/** Datagrams (or bundles) a call: bounds of what adapts to their size, and where it starts. */
const MIN_BATCH = 8
const FIRST_BATCH = 32
const MAX_BATCH = 256
/** Bytes of a batch that should still lie in the second-level cache when they are sent. */
const CACHED = 512 << 10
/** With fewer free slots than this, the gathered answers leave before more are received. */
const ROOM = 64

/** Bits of a flow's state, by descriptor. */
const ON_ALTERNATIVE = 1
/** The target's alternative address is tried if the next datagram is refused. */
const TENTATIVE = 2

interface Carried {
  readonly service: Service
  readonly flows: FlowList
  /** Of the service's target; null without one. */
  locality: Locality | null
}

class UdpRelay implements ProtocolHandler {
  readonly #libc: Libc
  readonly #loop: Loop
  readonly #counters: Float64Array
  readonly #active: Int32Array
  readonly #ceiling: number
  readonly #sockets: UdpSockets
  readonly #flows: FlowTable
  readonly #guard: LoopGuard
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  readonly #queues = new FlowQueues(MAX_BATCH)
  readonly #carried = new Map<number, Carried>()
  /** Listener → its service's slot and its index among the service's listeners. */
  #slot = new Int32Array(0)
  #index = new Int32Array(0)
  /** Flow's descriptor → flow, and its state bits. */
  #flow = new Int32Array(0)
  #state = new Uint8Array(0)
  /** The listener through which the pending answers leave. */
  #answering = NONE
  #batch = FIRST_BATCH

  constructor({ libc, loop, counters, active, ceiling, udpPassages }: Context) {
    this.#ceiling = ceiling
    this.#libc = libc
    this.#loop = loop
    this.#counters = counters
    this.#active = active
    this.#sockets = udpSockets(libc)
    this.#flows = new FlowTable(libc)
    this.#guard = new LoopGuard(libc, loop, udpPassages)
    this.#inbox = new Inbox(libc, MAX_BATCH)
    this.#outbox = new Outbox(libc, MAX_BATCH)
    loop.onGrow(capacity => {
      this.#slot = grown(this.#slot, capacity)
      this.#index = grown(this.#index, capacity)
      this.#flow = grown(this.#flow, capacity)
      this.#state = grown(this.#state, capacity)
    })
    loop.handle(Kind.udpListener, {
      ready: fd => this.#ask(fd),
      again: () => this.#flush(),
      expired: fd => this.#expire(this.#carriedBy(fd), fd),
    })
    loop.handle(Kind.udpFlow, { ready: fd => this.#answer(fd) })
  }

  open(service: Service): void {
    this.#flush()
    this.#carried.set(service.slot, { service, flows: emptyFlowList(), locality: this.#localityOf(service) })
    this.#guard.listening(service.slot, service.spec)
    service.listeners.forEach((fd, index) => {
      this.#loop.reserve(fd)
      this.#slot[fd] = service.slot
      this.#index[fd] = index
      this.#sockets.listener(fd)
      this.#loop.add(fd, Kind.udpListener, EPOLLIN)
    })
  }

  close(slots: ReadonlySet<number>): void {
    this.#flush()
    for (const slot of slots) {
      const carried = this.#carried.get(slot)
      if (carried === undefined) continue
      this.#dropAll(carried)
      for (const fd of carried.service.listeners) this.#loop.forget(fd)
      this.#guard.silent(slot)
      this.#carried.delete(slot)
    }
  }

  retarget(service: Service): void {
    this.#flush()
    const carried = this.#carried.get(service.slot)
    if (carried === undefined) return
    this.#dropAll(carried)
    carried.locality = this.#localityOf(service)
  }

  /** Client → target: a batch from a listener, sorted by flow. */
  #ask(listener: number): void {
    this.#flush()
    const carried = this.#carriedBy(listener)
    const count = this.#inbox.receive(listener, 0, this.#batch)
    if (count <= 0 || carried.service.target === null) return
    let flow = NONE
    let bytes = 0
    for (let slot = 0; slot < count; slot++) {
      this.#inbox.readKey(slot, listener, this.#flows.key)
      if (flow === NONE || !this.#flows.matches(flow)) {
        flow = this.#flows.find()
        if (flow === NONE) flow = this.#connect(carried, listener)
        if (flow === NONE) continue
      }
      bytes += this.#inbox.length(slot)
      this.#queues.add(flow, slot)
    }
    this.#forwardAll(carried)
    this.#adapt(count, bytes)
  }

  /** Sends every flow's part of the batch to its target. */
  #forwardAll(carried: Carried): void {
    this.#queues.drain((flow, first) => {
      for (let slot = first; slot !== NONE; slot = this.#queues.next(slot)) this.#collect(slot, flow, null)
      this.#flows.touch(carried.flows, flow, this.#loop.now)
      const fd = this.#flows.socket(flow)
      let bytes = this.#outbox.send(fd)
      if ((this.#state[fd] as number) & TENTATIVE) bytes = this.#reconsider(carried, flow, bytes)
      this.#outbox.clear()
      this.#count(carried, Counter.bytesIn, bytes)
    })
  }

  /** Target → client: what a flow's socket holds joins the outbox. */
  #answer(fd: number): void {
    const flow = this.#flow[fd] as number
    const listener = this.#flows.listener(flow)
    if (listener !== this.#answering || this.#outbox.pieces > MAX_BATCH - ROOM) this.#flush()
    const first = this.#outbox.pieces
    const count = this.#inbox.receive(fd, first, Math.min(this.#batch, MAX_BATCH - first))
    const carried = this.#carriedBy(listener)
    if (count < 0) {
      // The refusal of an earlier datagram; the flow stays, for a target that comes up later.
      if (this.#libc.errno() === ECONNREFUSED && carried.service.target?.alternative !== undefined)
        this.#state[fd] = (this.#state[fd] as number) | TENTATIVE
      return
    }
    let bytes = 0
    for (let slot = first; slot < first + count; slot++) {
      bytes += this.#inbox.length(slot)
      this.#collect(slot, flow, this.#flows)
    }
    this.#adapt(count, bytes)
    this.#flows.touch(carried.flows, flow, this.#loop.now)
    this.#answering = listener
    this.#loop.again(listener)
  }

  #localityOf({ target }: Service): Locality | null {
    return target === null ? null : new Locality(this.#libc, target)
  }

  #collect(slot: number, flow: number, answersOf: FlowTable | null): void {
    const inbox = this.#inbox
    this.#outbox.push(flow, inbox.payload(slot), inbox.length(slot), inbox.segmentSize(slot), answersOf)
  }

  /** Large datagrams in small batches, small ones in large batches while there are so many. */
  #adapt(count: number, bytes: number): void {
    if (bytes > CACHED) this.#batch = Math.max(MIN_BATCH, this.#batch >> 1)
    else if (count === this.#batch && bytes * 2 <= CACHED) this.#batch = Math.min(MAX_BATCH, this.#batch << 1)
  }

  /** Sends the pending answers. */
  #flush(): void {
    if (this.#answering === NONE) return
    const bytes = this.#outbox.send(this.#answering)
    this.#outbox.clear()
    this.#count(this.#carriedBy(this.#answering), Counter.bytesOut, bytes)
    this.#answering = NONE
  }

  /** Makes the flow for the key in the table; NONE when the datagram is to be dropped. */
  #connect(carried: Carried, listener: number): number {
    const { service, flows } = carried
    const hops = this.#guard.hopsOf(this.#flows.key)
    if (hops < 0 || this.#guard.fromListener(this.#flows.key)) return NONE
    if (flows.size >= service.spec.limits.maxConnections) this.#makeRoom(carried)
    const port = targetPort(service.spec, this.#index[listener] as number)
    let fd = this.#socket(carried, port, false)
    if (this.#isShort(fd) && this.#makeRoom(carried)) {
      if (fd >= 0) this.#loop.close(fd)
      fd = this.#socket(carried, port, false)
    }
    if (fd < 0) return NONE
    this.#guard.connected(fd, carried.locality, port, hops)
    const flow = this.#flows.add(flows, fd, this.#loop.now)
    this.#flow[fd] = flow
    this.#state[fd] = service.target?.alternative === undefined ? 0 : TENTATIVE
    Atomics.add(this.#active, service.slot, 1)
    this.#count(carried, Counter.total, 1)
    const [timed] = service.listeners as unknown as [number]
    if (!this.#loop.wheel.has(timed))
      this.#loop.wheel.set(timed, this.#loop.now, service.spec.limits.flowTimeout)
    return flow
  }

  /** Whether there was no descriptor for a flow's socket, or one that control needs, or no source port (EAGAIN). */
  #isShort(fd: number): boolean {
    return fd < 0 ? [EMFILE, ENFILE, EAGAIN].includes(this.#libc.errno()) : fd >= this.#ceiling
  }

  /** A registered socket to the service's target; −1 with errno set. */
  #socket({ service }: Carried, port: number, alternative: boolean): number {
    const { target } = service
    if (target === null) return -1
    const address = (alternative ? target.alternative : undefined) ?? target.address
    const fd = this.#sockets.flow(target, address, port)
    if (fd < 0 || this.#loop.add(fd, Kind.udpFlow, EPOLLIN)) return fd
    this.#libc.close(fd)
    return -1
  }

  /** Drops the oldest flow of the service, or else of the service whose oldest is the oldest; false if there is none. */
  #makeRoom(wanting: Carried): boolean {
    this.#forwardAll(wanting)
    let victim = wanting
    if (wanting.flows.size === 0)
      for (const other of this.#carried.values())
        if (other.flows.size > 0 && (victim.flows.size === 0 || this.#age(other) < this.#age(victim)))
          victim = other
    if (victim.flows.size === 0) return false
    this.#drop(victim, victim.flows.oldest)
    return true
  }

  #age(carried: Carried): number {
    return this.#flows.lastUse(carried.flows.oldest)
  }

  /**
   * The target has two addresses and it is not known which one listens. If what was just sent has been refused (on
   * a loopback the refusal is there when send returns), the flow moves to the other address and all is sent again.
   */
  #reconsider(carried: Carried, flow: number, bytes: number): number {
    const old = this.#flows.socket(flow)
    const state = this.#state[old] as number
    if (this.#sockets.takeError(old) !== ECONNREFUSED) {
      this.#state[old] = state & ~TENTATIVE
      return bytes
    }
    const alternative = (state & ON_ALTERNATIVE) === 0
    const port = targetPort(carried.service.spec, this.#index[this.#flows.listener(flow)] as number)
    const fd = this.#socket(carried, port, alternative)
    if (fd < 0) return 0
    this.#guard.moved(old, fd, carried.locality, port)
    this.#loop.close(old)
    this.#flows.replaceSocket(flow, fd)
    this.#flow[fd] = flow
    this.#state[fd] = TENTATIVE | (alternative ? ON_ALTERNATIVE : 0)
    return this.#outbox.send(fd)
  }

  #expire(carried: Carried, timed: number): void {
    const { flows, service } = carried
    const { flowTimeout } = service.spec.limits
    while (flows.size > 0 && this.#age(carried) + flowTimeout <= this.#loop.now)
      this.#drop(carried, flows.oldest)
    if (flows.size > 0)
      this.#loop.wheel.set(timed, this.#loop.now, this.#age(carried) + flowTimeout - this.#loop.now)
  }

  #dropAll(carried: Carried): void {
    while (carried.flows.size > 0) this.#drop(carried, carried.flows.oldest)
  }

  #drop(carried: Carried, flow: number): void {
    const fd = this.#flows.socket(flow)
    this.#flows.remove(carried.flows, flow)
    this.#guard.closing(fd)
    this.#loop.close(fd)
    Atomics.sub(this.#active, carried.service.slot, 1)
  }

  #carriedBy(listener: number): Carried {
    return this.#carried.get(this.#slot[listener] as number) as Carried
  }

  #count(carried: Carried, counter: number, amount: number): void {
    const at = carried.service.slot * COUNTERS + counter
    this.#counters[at] = (this.#counters[at] as number) + amount
  }
}
