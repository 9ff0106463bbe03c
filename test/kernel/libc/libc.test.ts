import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  AF_INET,
  EBADF,
  errnoName,
  IPPROTO_TCP,
  loadLibc,
  readSockaddr,
  SO_LINGER,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SOCKADDR_SIZE,
  SOL_SOCKET,
  socketOptions,
  TCP_NODELAY,
  writeSockaddr,
} from '../../../src/kernel/libc/index.ts'

const libc = await loadLibc()

describe('calls', () => {
  it('returns -1 and leaves errno', () => {
    const mem = libc.pin(16)
    expect(libc.recv(-1, mem.address, 16, 0)).toBe(-1)
    expect(libc.errno()).toBe(EBADF)
    expect(errnoName(libc.errno())).toBe('EBADF')
    expect(errnoName(4095)).toBe('errno 4095')
  })

  it('moves bytes through pinned memory', () => {
    const ends = libc.pin(8)
    expect(libc.pipe2(ends.address, 0)).toBe(0)
    const [reader, writer] = [ends.view.getInt32(0, true), ends.view.getInt32(4, true)]
    const mem = libc.pin(64)
    mem.bytes.set(Buffer.from('across'))
    expect(libc.write(writer, mem.address, 6)).toBe(6)
    expect(libc.read(reader, mem.address + 32, 32)).toBe(6)
    expect(Buffer.from(mem.bytes.subarray(32, 38)).toString()).toBe('across')
    libc.close(reader)
    libc.close(writer)
  })

  it('sets and reads int options', () => {
    const options = socketOptions(libc)
    const fd = libc.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)
    expect(options.getInt(fd, SOL_SOCKET, SO_REUSEADDR)).toBe(0)
    expect(options.setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1)).toBe(0)
    expect(options.setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1)).toBe(0)
    expect(options.getInt(fd, SOL_SOCKET, SO_REUSEADDR)).toBe(1)
    options.resetOnClose(fd)
    expect(options.getInt(fd, SOL_SOCKET, SO_LINGER)).toBe(1)
    libc.close(fd)
    expect(options.getInt(fd, SOL_SOCKET, SO_REUSEADDR)).toBe(-1)
  })
})

describe('sockaddr', () => {
  const mem = libc.pin(2 * SOCKADDR_SIZE)
  it.each([
    ['0.0.0.0', 1, 16],
    ['192.0.2.77', 65535, 16],
    ['::', 80, 28],
    ['2001:db8::5', 443, 28],
    ['::ffff:10.0.0.1', 8080, 28],
  ])('%s port %i reads back', (address, port, length) => {
    expect(writeSockaddr(libc, mem, 28, { address, port })).toBe(length)
    expect(readSockaddr(libc, mem, 28)).toEqual({ address, port })
  })

  it('reads back every IPv4 address and port', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 0, max: 65535 }), (address, port) => {
        writeSockaddr(libc, mem, 0, { address, port })
        expect(readSockaddr(libc, mem, 0)).toEqual({ address, port })
      }),
    )
  })

  it('keeps the interface of a link-local address', () => {
    writeSockaddr(libc, mem, 0, { address: 'fe80::1%lo', port: 9 })
    expect(mem.view.getUint32(24, true)).toBe(1)
  })

  it('refuses what is not a literal', () => {
    expect(() => writeSockaddr(libc, mem, 0, { address: 'localhost', port: 1 })).toThrow(
      'not an address literal',
    )
  })
})
