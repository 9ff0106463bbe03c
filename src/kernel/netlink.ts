/** What netlink sockets have in common. Layouts: linux/netlink.h, linux/netfilter/nfnetlink.h. */
import { PortctlError } from '../core/errors.ts'
import { errnoName, type Libc, SOCK_CLOEXEC } from './libc/index.ts'

const AF_NETLINK = 16
const SOCK_RAW = 3
/** Protocols. */
export const NETLINK_SOCK_DIAG = 4
const NETLINK_NETFILTER = 12

const NLM_F_REQUEST = 1
const NLM_F_DUMP = 0x300
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
/** Bytes of struct nlmsghdr, and of struct nfgenmsg that follows it in netfilter's messages. */
export const NLMSG_HEADER = 16
export const NFGENMSG = 4

/** struct nlmsghdr; `payload`: bytes that will follow. */
const header = (type: number, flags: number, sequence: number, payload: number): Buffer => {
  const head = Buffer.alloc(NLMSG_HEADER)
  head.writeUInt32LE(head.length + payload, 0)
  head.writeUInt16LE(type, 4)
  head.writeUInt16LE(flags, 6)
  head.writeUInt32LE(sequence, 8)
  return head
}

/** Asks for all there is. */
export const dumpHead = (type: number, payload: number): Buffer =>
  header(type, NLM_F_REQUEST | NLM_F_DUMP, 1, payload)

/** struct nlmsghdr, then struct nfgenmsg: family, version 0, resource id 0; `payload`: bytes that will follow. */
export const messageHead = (type: number, sequence: number, family: number, payload: number): Buffer => {
  const netfilter = Buffer.alloc(NFGENMSG)
  netfilter.writeUInt8(family)
  return Buffer.concat([header(type, NLM_F_REQUEST, sequence, NFGENMSG + payload), netfilter])
}

const netlinkFailed = (libc: Libc, call: string): PortctlError =>
  PortctlError.of('syscall-failed', { call, errno: errnoName(libc.errno()), subject: 'netlink socket' })

/** −1 with errno set when it fails. */
export const openNetlink = (libc: Libc, protocol: number): number =>
  libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)

/** Runs `talk` with a socket and closes it. @param socket default: netfilter's, of this process's network namespace. @throws `syscall-failed` */
export const withNetlink = <T>(
  libc: Libc,
  talk: (socket: number) => T,
  socket = openNetlink(libc, NETLINK_NETFILTER),
): T => {
  if (socket === -1) throw netlinkFailed(libc, 'socket')
  try {
    return talk(socket)
  } finally {
    libc.close(socket)
  }
}

/** @throws `syscall-failed` */
export const sendMessage = (libc: Libc, socket: number, message: Buffer): void => {
  const memory = libc.pin(message.length)
  memory.bytes.set(message)
  if (libc.send(socket, memory.address, message.length, 0) !== message.length)
    throw netlinkFailed(libc, 'send')
}
