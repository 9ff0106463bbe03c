/**
 * Deletes conntrack entries by exact tuple over netlink: a hash lookup each, microseconds, where conntrack(8) walks the
 * whole table for every deletion (13 ms with the usual 262,144 buckets). So it is for many at once.
 *
 * Acts on the network namespace of this process. Requests carry no NLM_F_ACK: the kernel handles them inside send(2) and
 * queues an answer only for those that failed, so all answers there will be can be read without waiting.
 * Layouts: linux/netfilter/nfnetlink_conntrack.h.
 */
import { addressToBigint, familyOf, type Protocol } from '../core/address.ts'
import { PortctlError } from '../core/errors.ts'
import type { Flow } from './flow.ts'
import { AF_INET, AF_INET6, ENOENT, errnoName, type Libc, loadLibc, MSG_DONTWAIT } from './libc/index.ts'
import { messageHead, NLMSG_ERROR, NLMSG_HEADER, sendMessage, withNetlink } from './netlink.ts'

/** Subsystem 1 (ctnetlink), message 2 (IPCTNL_MSG_CT_DELETE). */
const CT_DELETE = (1 << 8) | 2

const NESTED = 0x8000
const CTA_TUPLE_ORIG = 1
const CTA_TUPLE_IP = 1
const CTA_TUPLE_PROTO = 2
const CTA_PROTO_NUM = 1
const CTA_PROTO_SRC_PORT = 2
const CTA_PROTO_DST_PORT = 3
/** CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST. */
const CTA_IP = { 4: [1, 2], 6: [3, 4] } as const

const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 }

/** Messages in one send(2); their failures fit the socket's receive buffer. */
const BATCH = 64

/** struct nlattr: length and type in host order, padded to 4. */
const attribute = (type: number, payload: Buffer): Buffer => {
  const length = 4 + payload.length
  const bytes = Buffer.alloc((length + 3) & ~3)
  bytes.writeUInt16LE(length, 0)
  bytes.writeUInt16LE(type, 2)
  payload.copy(bytes, 4)
  return bytes
}

const nested = (type: number, ...attributes: readonly Buffer[]): Buffer =>
  attribute(type | NESTED, Buffer.concat(attributes))

const addressBytes = (address: string): Buffer =>
  Buffer.from(
    addressToBigint(address)
      .toString(16)
      .padStart(familyOf(address) === 4 ? 8 : 32, '0'),
    'hex',
  )

const portBytes = (port: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(port)
  return bytes
}

const deletion = ({ protocol, original }: Flow, sequence: number): Buffer => {
  const family = familyOf(original.destination)
  const [source, destination] = CTA_IP[family]
  const tuple = nested(
    CTA_TUPLE_ORIG,
    nested(
      CTA_TUPLE_IP,
      attribute(source, addressBytes(original.source)),
      attribute(destination, addressBytes(original.destination)),
    ),
    nested(
      CTA_TUPLE_PROTO,
      attribute(CTA_PROTO_NUM, Buffer.from([PROTOCOL_NUMBERS[protocol]])),
      attribute(CTA_PROTO_SRC_PORT, portBytes(original.sourcePort)),
      attribute(CTA_PROTO_DST_PORT, portBytes(original.destinationPort)),
    ),
  )
  const head = messageHead(CT_DELETE, sequence, family === 4 ? AF_INET : AF_INET6, tuple.length)
  return Buffer.concat([head, tuple])
}

/** The first failure among the answers, as an errno; an entry that has gone by itself is none. */
const firstFailure = (libc: Libc, socket: number): number | undefined => {
  const answers = libc.pin(64 * 1024)
  let failure: number | undefined
  for (;;) {
    const size = libc.recv(socket, answers.address, answers.bytes.length, MSG_DONTWAIT)
    if (size <= 0) return failure
    for (let at = 0; at + NLMSG_HEADER < size; ) {
      const length = answers.view.getUint32(at, true)
      const errno =
        answers.view.getUint16(at + 4, true) === NLMSG_ERROR
          ? -answers.view.getInt32(at + NLMSG_HEADER, true)
          : 0
      if (errno !== 0 && errno !== ENOENT) failure ??= errno
      at += (length + 3) & ~3
    }
  }
}

/** @throws `libc-unavailable`, `syscall-failed` */
export const deleteFlows = async (flows: readonly Flow[]): Promise<void> => {
  const libc = await loadLibc()
  withNetlink(libc, socket => {
    for (let from = 0; from < flows.length; from += BATCH) {
      const batch = flows.slice(from, from + BATCH)
      sendMessage(libc, socket, Buffer.concat(batch.map((flow, i) => deletion(flow, from + i + 1))))
      const errno = firstFailure(libc, socket)
      if (errno !== undefined)
        throw PortctlError.of('syscall-failed', {
          call: 'IPCTNL_MSG_CT_DELETE',
          errno: errnoName(errno),
          subject: 'conntrack',
        })
    }
  })
}
