/** Datagrams through inbox and outbox alone, over real sockets: what comes in goes out, bundled or not. */
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  AF_INET,
  IPPROTO_UDP,
  loadLibc,
  SO_RCVBUFFORCE,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCKADDR_SIZE,
  SOL_SOCKET,
  socketOptions,
  UDP_GRO,
  UDP_SEGMENT,
  writeSockaddr,
} from '../../src/kernel/libc/index.ts'
import { Inbox } from '../../src/relay/splice/udp-inbox.ts'
import { Outbox } from '../../src/relay/splice/udp-outbox.ts'
import { enterNamespace } from './udp-peers.ts'

const libc = await loadLibc()
const options = socketOptions(libc)
const CAPACITY = 100
const name = libc.pin(SOCKADDR_SIZE + 4)

/** A socket at port `own` connected to port `peer`. */
const connected = (own: number, peer: number): number => {
  const fd = libc.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)
  options.setInt(fd, SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
  for (const [call, port] of [
    ['bind', own],
    ['connect', peer],
  ] as const) {
    const length = writeSockaddr(libc, name, 0, { address: '127.0.0.1', port })
    if (libc[call](fd, name.address, length) < 0) throw new Error(`${call}: errno ${libc.errno()}`)
  }
  return fd
}

interface Stage {
  readonly into: number
  readonly inbox: Inbox
  readonly middle: readonly [number, number]
  readonly out: number
  readonly outbox: Outbox
}

const payload = libc.pin(65_536)
const sendAll = (fd: number, sizes: readonly number[]): void => {
  sizes.forEach((size, i) => {
    payload.bytes.fill(i + 1, 0, size)
    if (libc.send(fd, payload.address, size, 0) < 0) throw new Error(`send: errno ${libc.errno()}`)
  })
}
/** What waits in a socket: [size, fill] of each message, as many as there are. */
const receiveAll = (fd: number): [number, number][] => {
  const all: [number, number][] = []
  for (;;) {
    const size = libc.recv(fd, payload.address, 65_536, 0)
    if (size < 0) return all
    const fill = size === 0 ? 0 : (payload.bytes[0] as number)
    expect(payload.bytes.subarray(0, size).every(byte => byte === fill)).toBe(true)
    all.push([size, fill])
  }
}

describe.each([65_536, 1000])('over a loopback of MTU %i', mtu => {
  let stage: Stage

  beforeAll(() => {
    enterNamespace()
    execFileSync('ip', ['link', 'set', 'lo', 'mtu', String(mtu)])
    stage = {
      into: connected(20_000, 20_001),
      middle: [connected(20_001, 20_000), connected(20_002, 20_003)],
      out: connected(20_003, 20_002),
      inbox: new Inbox(libc, CAPACITY),
      outbox: new Outbox(libc, CAPACITY),
    }
  })

  /** Through the relay's hands; each datagram belongs to the flow given. */
  const relay = (flowOf: (slot: number) => number): number => {
    const { inbox, outbox, middle } = stage
    const count = inbox.receive(middle[0], 0, CAPACITY)
    for (let slot = 0; slot < count; slot++)
      outbox.push(flowOf(slot), inbox.payload(slot), inbox.length(slot), inbox.segmentSize(slot), null)
    const bytes = outbox.send(middle[1])
    outbox.clear()
    return bytes
  }

  const size = fc.oneof(
    fc.constantFrom(0, 1, 64, 950, 1200, 1452, 1453),
    fc.nat(1500),
    fc.nat({ max: 20_000 }),
  )
  it('every datagram arrives once, whole and in order', () => {
    fc.assert(
      fc.property(
        // Runs of one size are what gets bundled.
        fc.array(fc.tuple(size, fc.integer({ min: 1, max: 30 }), fc.nat(2)), { maxLength: 8 }),
        runs => {
          const datagrams = runs.flatMap(([bytes, times, flow]) =>
            Array.from({ length: times }, () => [bytes, flow] as const),
          )
          const sent = datagrams.slice(0, CAPACITY)
          const sizes = sent.map(([bytes]) => bytes)
          sendAll(stage.into, sizes)
          const bytes = relay(slot => sent[slot]?.[1] ?? 0)
          expect(receiveAll(stage.out)).toEqual(sizes.map((n, i) => [n, n === 0 ? 0 : i + 1]))
          expect(bytes).toBe(sizes.reduce((sum, n) => sum + n, 0))
        },
      ),
    )
  })

  it('the refusal of an earlier datagram costs the next one nothing', () => {
    const { inbox, outbox } = stage
    const socket = connected(20_004, 20_005)
    libc.send(socket, payload.address, 1, 0)
    const back = connected(20_005, 20_004)
    sendAll(stage.into, [5, 6])
    inbox.receive(stage.middle[0], 0, CAPACITY)
    for (const slot of [0, 1]) outbox.push(slot, inbox.payload(slot), inbox.length(slot), 0, null)
    expect(outbox.send(socket)).toBe(11)
    outbox.clear()
    expect(lengths(back)).toEqual([5, 6])
  })

  describe('to a receiver that takes bundles', () => {
    beforeAll(() => {
      options.setInt(stage.out, IPPROTO_UDP, UDP_GRO, 1)
    })

    it.each([
      ['of one size, the last shorter', [900, 900, 900, 100], [2800]],
      ['up to a shorter one', [900, 100, 900], [1000, 900]],
      ['up to a longer one', [100, 900, 900], [100, 1800]],
      ['up to an empty one', [900, 0, 900], [900, 0, 900]],
      ['no more than 64', Array(65).fill(10), [640, 10]],
      ['no more than a packet holds', Array(75).fill(900), [57_600, 9_900]],
      ['not when large', [1500, 1500], [1500, 1500]],
    ])('datagrams leave together: %s', (_, sizes, messages) => {
      sendAll(stage.into, sizes)
      expect(relay(() => 0)).toBe(sizes.reduce((sum, n) => sum + n, 0))
      expect(lengths(stage.out)).toEqual(messages)
    })

    it('datagrams of several flows do not', () => {
      sendAll(stage.into, [900, 900, 900, 900])
      relay(slot => slot >> 1)
      expect(lengths(stage.out)).toEqual([1800, 1800])
    })

    it('a bundle that arrives as one leaves as one', () => {
      const { into, middle, inbox } = stage
      options.setInt(into, IPPROTO_UDP, UDP_SEGMENT, 700)
      options.setInt(middle[0], IPPROTO_UDP, UDP_GRO, 1)
      libc.send(into, payload.address, 7 * 700 + 1, 0)
      expect(relay(() => 0)).toBe(4901)
      expect(inbox.segmentSize(0)).toBe(700)
      expect(lengths(stage.out)).toEqual([4901])
    })
  })
})

/** Sizes of the messages that wait in a socket. */
const lengths = (fd: number): number[] => {
  const all: number[] = []
  for (;;) {
    const length = libc.recv(fd, payload.address, 65_536, 0)
    if (length < 0) return all
    all.push(length)
  }
}
