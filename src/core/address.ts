/**
 * Addresses as the rest of the house knows them: canonical text (RFC 5952 for IPv6) and CIDR blocks on bigint.
 *
 * One address has one text: an IPv4-mapped IPv6 address is the IPv4 address, case and zeros are normalised. So two
 * addresses are equal exactly when their texts are. Zones (`fe80::1%eth0`), short forms (`127.1`) and octal octets
 * (`010.0.0.1`) are refused, as Go's net.ParseIP does.
 */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { PortctlError } from './errors.ts'

export type Family = 4 | 6
export type Protocol = 'tcp' | 'udp' | 'sctp'

/** A port number, 1–65535. */
export type Port = number

/** An inclusive run of ports; `first === last` for a single one. */
export interface PortRange {
  readonly first: Port
  readonly last: Port
}

/** The canonical text of an IPv4 or IPv6 address. */
export type Address = string & { readonly __brand: 'Address' }

/** A network block; the bits of `base` beyond `prefix` are zero. */
export interface Cidr {
  readonly family: Family
  readonly base: bigint
  readonly prefix: number
}

/** An address on a network, as an interface carries it: 172.18.0.2/16. */
export interface InterfaceAddress {
  readonly address: Address
  readonly prefix: number
}

/** Null when the text is no address. */
export const tryAddress = (text: string): Address | null =>
  isIP(text) === 0 || text.includes('%') ? null : (ipaddr.process(text).toString() as Address)

/** @throws `address-invalid` */
export const parseAddress = (text: string): Address => {
  const address = tryAddress(text)
  if (address === null) throw PortctlError.of('address-invalid', { address: text })
  return address
}

export const familyOf = (address: string): Family => (address.includes(':') ? 6 : 4)

const WILDCARDS = { 4: '0.0.0.0' as Address, 6: '::' as Address } as const

/** The address that stands for every local address of its family. */
export const wildcard = (family: Family): Address => WILDCARDS[family]

export const isWildcard = (address: string): boolean => address === WILDCARDS[4] || address === WILDCARDS[6]

/** 127.0.0.0/8 or ::1. */
export const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1'

/** Bits in an address of the family. */
const width = (family: Family): number => (family === 4 ? 32 : 128)

export const addressToBigint = (address: string): bigint =>
  ipaddr
    .parse(parseAddress(address))
    .toByteArray()
    .reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)

/** `value` is the address as a big-endian number; the caller keeps it inside the family's width. */
export const addressFromBigint = (family: Family, value: bigint): Address => {
  const bytes = Array.from({ length: width(family) / 8 }, (_, i) =>
    Number((value >> BigInt(width(family) - 8 * (i + 1))) & 0xffn),
  )
  return ipaddr.fromByteArray(bytes).toString() as Address
}

const hostBits = (family: Family, prefix: number): bigint => BigInt(width(family) - prefix)

/** The block of this prefix length that the address lies in. */
export const cidrOf = (address: string, prefix: number): Cidr => {
  const family = familyOf(address)
  const bits = hostBits(family, prefix)
  return { family, base: (addressToBigint(address) >> bits) << bits, prefix }
}

/** `ADDRESS/PREFIX`, host bits allowed. @throws `cidr-invalid` */
export const parseInterfaceAddress = (text: string): InterfaceAddress => {
  const slash = text.lastIndexOf('/')
  const address = tryAddress(text.slice(0, Math.max(slash, 0)))
  const digits = text.slice(slash + 1)
  if (slash < 0) throw PortctlError.of('cidr-invalid', { cidr: text, why: 'no prefix length, e.g. /24' })
  if (address === null)
    throw PortctlError.of('cidr-invalid', { cidr: text, why: 'no IP address before the /' })
  const prefix = Number(digits)
  if (!/^\d{1,3}$/.test(digits) || prefix > width(familyOf(address)))
    throw PortctlError.of('cidr-invalid', {
      cidr: text,
      why: `the prefix length is not between 0 and ${width(familyOf(address))}`,
    })
  return { address, prefix }
}

/** A block; an address with host bits set is refused, because it is a typing error more often than not. @throws `cidr-invalid` */
export const parseCidr = (text: string): Cidr => {
  const { address, prefix } = parseInterfaceAddress(text)
  const cidr = cidrOf(address, prefix)
  if (cidr.base !== addressToBigint(address))
    throw PortctlError.of('cidr-invalid', { cidr: text, why: `the network is ${formatCidr(cidr)}` })
  return cidr
}

export const formatCidr = (cidr: Cidr): string =>
  `${addressFromBigint(cidr.family, cidr.base)}/${cidr.prefix}`

/** How many addresses the block holds, network and broadcast addresses included. */
export const cidrSize = (cidr: Cidr): bigint => 1n << hostBits(cidr.family, cidr.prefix)

export const contains = (cidr: Cidr, address: string): boolean =>
  familyOf(address) === cidr.family && cidrOf(address, cidr.prefix).base === cidr.base

export const overlaps = (a: Cidr, b: Cidr): boolean =>
  a.family === b.family && a.base < b.base + cidrSize(b) && b.base < a.base + cidrSize(a)
