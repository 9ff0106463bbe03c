/**
 * Sends the first packet of an SCTP association (INIT, RFC 9260 §3.3.2) from a raw socket: node has no SCTP, and most
 * kernels have the protocol only as a module, while connection tracking and NAT know it all the same.
 *
 *   node sctp-init.mjs ADDRESS PORT        over IPv4; the checksum is left zero
 */
import koffi from 'koffi'

const libc = koffi.load('libc.so.6')
const socket = libc.func('int socket(int domain, int type, int protocol)')
const sendto = libc.func(
  'long sendto(int fd, const uint8_t *data, size_t size, int flags, const uint8_t *to, uint32_t length)',
)

const [AF_INET, SOCK_RAW, IPPROTO_SCTP] = [2, 3, 132]
const [address, port] = process.argv.slice(2)

const packet = Buffer.alloc(32)
packet.writeUInt16BE(40_000, 0)
packet.writeUInt16BE(Number(port), 2)
packet.writeUInt8(1, 12) // INIT
packet.writeUInt16BE(20, 14) // length of the chunk
packet.writeUInt32BE(0xabcd, 16) // initiate tag
packet.writeUInt32BE(65_536, 20) // receiver window
packet.writeUInt16BE(1, 24) // outbound streams
packet.writeUInt16BE(1, 26) // inbound streams
packet.writeUInt32BE(1, 28) // initial TSN

const to = Buffer.alloc(16)
to.writeUInt16LE(AF_INET, 0)
to.set(address.split('.').map(Number), 4)

const sent = sendto(socket(AF_INET, SOCK_RAW, IPPROTO_SCTP), packet, packet.length, 0, to, to.length)
process.exit(sent === packet.length ? 0 : 1)
