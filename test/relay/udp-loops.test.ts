import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { AF_INET, loadLibc, SOCK_DGRAM, SOCKADDR_SIZE, writeSockaddr } from '../../src/kernel/libc/index.ts'
import { DEFAULT_LIMITS, type ServiceSpec } from '../../src/relay/engine.ts'
import { Locality } from '../../src/relay/splice/locality.ts'
import { Loop } from '../../src/relay/splice/loop.ts'
import { LISTENER_WORD, LOCAL_WORD } from '../../src/relay/splice/udp-flows.ts'
import { LoopGuard, UDP_PASSAGES_BYTES } from '../../src/relay/splice/udp-loops.ts'
import { enterNamespace } from './udp-peers.ts'

const libc = await loadLibc()
const loop = new Loop(libc)
const name = libc.pin(SOCKADDR_SIZE)
const words = new Int32Array(name.bytes.buffer)

const spec = (addresses: readonly string[], first: number, last = first): ServiceSpec => ({
  id: 'one',
  protocol: 'udp',
  addresses,
  ports: { first, last },
  target: { address: '192.0.2.1' },
  targetPorts: { first: 9, last: 9 },
  limits: DEFAULT_LIMITS,
})

/** The identity of a datagram from `address`:`port` that asked `local`. */
const key = (address: string, port: number, local: string): Int32Array => {
  const identity = new Int32Array(13)
  const v4 = !address.includes(':')
  writeSockaddr(libc, name, 0, { address: local, port: 0 })
  identity.set(words.subarray(v4 ? 1 : 2, v4 ? 2 : 6), LOCAL_WORD)
  const length = writeSockaddr(libc, name, 0, { address, port })
  identity.set(words.subarray(0, length / 4))
  if (v4) identity.fill(0, 4, LISTENER_WORD)
  return identity
}

describe('a forged source that is a listener', () => {
  beforeAll(enterNamespace)

  it.each([
    ['bound to that address', ['10.11.0.1'], '10.11.0.1', '10.11.0.2', true],
    ['bound to another', ['10.11.0.2'], '10.11.0.1', '10.11.0.2', false],
    ['bound to loopback', ['127.0.0.3'], '127.0.0.3', '127.0.0.1', true],
    ['wildcard, from loopback', ['0.0.0.0'], '127.0.0.3', '127.0.0.1', true],
    ['wildcard, from the address asked', ['0.0.0.0'], '192.0.2.9', '192.0.2.9', true],
    ['wildcard, from another address of this host', ['0.0.0.0'], '10.11.0.1', '10.11.0.2', true],
    ['wildcard, from another host', ['0.0.0.0'], '198.51.100.1', '192.0.2.9', false],
    ['wildcard of the other family', ['::'], '127.0.0.1', '127.0.0.1', false],
    ['one of two', ['fd11::1', '10.11.0.1'], '10.11.0.1', '10.11.0.2', true],
    ['IPv6, bound to that address', ['fd11::1'], 'fd11::1', 'fd11::2', true],
    ['IPv6, bound to another', ['fd11::2'], 'fd11::1', 'fd11::2', false],
    ['IPv6 wildcard, from loopback', ['::'], '::1', 'fd11::1', true],
    ['IPv6 wildcard, from another address of this host', ['::'], 'fd11::2', 'fd11::1', true],
    ['IPv6 wildcard, from another host', ['::'], '2001:db8::8', 'fd11::1', false],
    ['IPv6 wildcard of the other family', ['0.0.0.0'], '::1', '::1', false],
  ])('%s', (_, addresses, source, local, forged) => {
    const shared = new SharedArrayBuffer(UDP_PASSAGES_BYTES)
    const carrying = new LoopGuard(libc, loop, shared)
    carrying.listening(1, spec(addresses, 5000, 5010))
    for (const guard of [carrying, new LoopGuard(libc, loop, shared)]) {
      expect(guard.fromListener(key(source, 5010, local))).toBe(forged)
      expect(guard.fromListener(key(source, 5011, local))).toBe(false)
    }
    carrying.silent(1)
    expect(carrying.fromListener(key(source, 5010, local))).toBe(false)
  })

  it('is not every host where ip_nonlocal_bind is set', () => {
    const files = ['ipv4', 'ipv6'].map(family => `/proc/sys/net/${family}/ip_nonlocal_bind`)
    onTestFinished(() => {
      for (const file of files) writeFileSync(file, '0')
    })
    for (const file of files) writeFileSync(file, '1')
    const guard = new LoopGuard(libc, loop, new SharedArrayBuffer(UDP_PASSAGES_BYTES))
    guard.listening(1, spec(['0.0.0.0', '::'], 5000))
    expect(guard.fromListener(key('198.51.100.1', 5000, '10.11.0.1'))).toBe(false)
    expect(guard.fromListener(key('2001:db8::8', 5000, 'fd11::1'))).toBe(false)
  })
})

describe('a chain of services', () => {
  beforeAll(() => void execFileSync('ip', ['route', 'add', 'local', '192.0.2.64/26', 'dev', 'lo']))

  const PORT = 5000
  const here = new Locality(libc, { address: '127.0.0.1' })
  const fds: number[] = []
  let guard: LoopGuard
  beforeEach(() => {
    guard = new LoopGuard(libc, loop, new SharedArrayBuffer(UDP_PASSAGES_BYTES))
    guard.listening(1, spec(['127.0.0.1'], PORT))
  })
  afterAll(() => {
    for (const fd of fds) libc.close(fd)
  })

  /** A flow's socket to `port`, and the identity its datagrams have. */
  const socket = (port: number): readonly [number, Int32Array] => {
    const fd = libc.socket(AF_INET, SOCK_DGRAM, 0)
    fds.push(fd)
    const length = writeSockaddr(libc, name, 0, { address: '127.0.0.1', port })
    libc.connect(fd, name.address, length)
    const size = libc.pin(4)
    size.view.setUint32(0, SOCKADDR_SIZE, true)
    libc.getsockname(fd, name.address, size.address)
    return [fd, key('127.0.0.1', name.view.getUint16(2), '127.0.0.1')]
  }

  it('is cut after eight', () => {
    let hops = 0
    for (let passed = 0; passed < 8; passed++) {
      const [fd, identity] = socket(PORT)
      guard.connected(fd, here, PORT, hops)
      hops = guard.hopsOf(identity)
      expect(hops).toBe(passed < 7 ? passed + 1 : -1)
    }
  })

  it('is forgotten with its sockets, and not begun by targets that are no listeners', () => {
    const [fd, identity] = socket(PORT)
    guard.connected(fd, here, PORT, 3)
    expect(guard.hopsOf(identity)).toBe(4)
    guard.closing(fd)
    expect(guard.hopsOf(identity)).toBe(0)
    const [other, outside] = socket(PORT + 1)
    guard.connected(other, here, PORT + 1, 3)
    expect(guard.hopsOf(outside)).toBe(0)
  })

  it.each([
    ['of another host', { address: '198.51.100.1' }, 0],
    ['of another host, IPv6', { address: '2001:db8::8' }, 0],
    ['in another network namespace', { address: '127.0.0.1', netns: '/proc/1/ns/net' }, 0],
    ['of this host by a local route', { address: '192.0.2.77' }, 1],
    ['of this host, one of its addresses', { address: '10.11.0.2' }, 1],
  ] as const)('begins with targets of this host only: one %s', (_, target, hops) => {
    const [fd, identity] = socket(PORT)
    guard.connected(fd, new Locality(libc, target), PORT, 0)
    expect(guard.hopsOf(identity)).toBe(hops)
  })

  it('goes on by the socket that a flow moves to', () => {
    const [old] = socket(PORT)
    guard.connected(old, here, PORT, 3)
    const [fd, identity] = socket(PORT)
    guard.moved(old, fd, here, PORT)
    expect(guard.hopsOf(identity)).toBe(4)
  })

  it('goes on where another thread has the next service', () => {
    const shared = new SharedArrayBuffer(UDP_PASSAGES_BYTES)
    const [one, other] = [new LoopGuard(libc, loop, shared), new LoopGuard(libc, loop, shared)]
    other.listening(1, spec(['127.0.0.1'], PORT))
    const [fd, identity] = socket(PORT)
    one.connected(fd, here, PORT, 3)
    expect(other.hopsOf(identity)).toBe(4)
    one.closing(fd)
    expect(other.hopsOf(identity)).toBe(0)
  })
})
