/** Addresses as the rest of the house knows them: canonical text with a family, and CIDR blocks on bigint. */
export type Family = 4 | 6
export type Protocol = 'tcp' | 'udp' | 'sctp'

/** A port number, 1–65535. */
export type Port = number

/** An inclusive run of ports; `first === last` for a single one. */
export interface PortRange {
  readonly first: Port
  readonly last: Port
}
