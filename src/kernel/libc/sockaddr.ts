/** struct sockaddr_in / sockaddr_in6 (netinet/in.h) in pinned memory, from and to address literals. */
import { PortctlError } from '../../core/errors.ts'
import type { Libc } from './bindings.ts'
import { AF_INET, AF_INET6 } from './constants.ts'
import type { Pinned } from './memory.ts'

export const SOCKADDR_IN_SIZE = 16
export const SOCKADDR_IN6_SIZE = 28
/** Room for either; offsets within: family 0 (host order), port 2 (network order), address 4 (v4) or 8 (v6). */
export const SOCKADDR_SIZE = 28

export interface SocketAddress {
  readonly address: string
  readonly port: number
}

export const familyOf = (address: string): typeof AF_INET | typeof AF_INET6 =>
  address.includes(':') ? AF_INET6 : AF_INET

/** Writes `address` (a literal; IPv6 may carry `%interface`) and `port` at `offset`; returns the struct's length. */
export const writeSockaddr = (libc: Libc, mem: Pinned, offset: number, at: SocketAddress): number => {
  const family = familyOf(at.address)
  const length = family === AF_INET ? SOCKADDR_IN_SIZE : SOCKADDR_IN6_SIZE
  const [literal = '', zone] = at.address.split('%')
  mem.bytes.fill(0, offset, offset + length)
  mem.view.setUint16(offset, family, true)
  mem.view.setUint16(offset + 2, at.port)
  if (libc.inet_pton(family, literal, mem.address + offset + (family === AF_INET ? 4 : 8)) !== 1)
    throw PortctlError.of('internal', { what: `not an address literal: ${at.address}` })
  if (zone !== undefined) mem.view.setUint32(offset + 24, libc.if_nametoindex(zone), true)
  return length
}

const TEXT_SIZE = 46 // INET6_ADDRSTRLEN

export const readSockaddr = (libc: Libc, mem: Pinned, offset: number): SocketAddress => {
  const family = mem.view.getUint16(offset, true)
  const text = libc.pin(TEXT_SIZE)
  const address = libc.inet_ntop(
    family,
    mem.address + offset + (family === AF_INET ? 4 : 8),
    text.address,
    TEXT_SIZE,
  )
  if (address === null)
    throw PortctlError.of('internal', { what: `not an internet address: family ${family}` })
  return { address, port: mem.view.getUint16(offset + 2) }
}
