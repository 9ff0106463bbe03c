/** Text of addresses with ports. Apart from address.ts so that the command line need not load an address parser. */
import type { PortRange } from './address.ts'

/** `80` or `8000-8010`. */
export const formatPorts = (range: PortRange): string =>
  range.first === range.last ? `${range.first}` : `${range.first}-${range.last}`

/** The address as it stands before a colon: IPv6 in brackets. */
export const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address)

/** `0.0.0.0:8080`, `[::]:8000-8010`. */
export const formatSocketAddress = (address: string, range: PortRange): string =>
  `${bracketed(address)}:${formatPorts(range)}`

/** As `docker ps` prints it: `0.0.0.0:8080->80/tcp`. */
export const formatMapping = (
  address: string,
  host: PortRange,
  target: PortRange,
  protocol: string,
): string => `${formatSocketAddress(address, host)}->${formatPorts(target)}/${protocol}`
