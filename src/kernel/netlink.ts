/** What the netfilter netlink sockets have in common. Layouts: linux/netlink.h, linux/netfilter/nfnetlink.h. */
import { PortctlError } from '../core/errors.ts'
import { errnoName, type Libc } from './libc/index.ts'

const AF_NETLINK = 16
const SOCK_RAW = 3
const NETLINK_NETFILTER = 12

const NLM_F_REQUEST = 1
export const NLMSG_ERROR = 2
/** Bytes of struct nlmsghdr, and of struct nfgenmsg that follows it. */
export const NLMSG_HEADER = 16
export const NFGENMSG = 4

/** struct nlmsghdr, then struct nfgenmsg: family, version 0, resource id 0; `payload`: bytes that will follow. */
export const messageHead = (type: number, sequence: number, family: number, payload: number): Buffer => {
  const head = Buffer.alloc(NLMSG_HEADER + NFGENMSG)
  head.writeUInt32LE(head.length + payload, 0)
  head.writeUInt16LE(type, 4)
  head.writeUInt16LE(NLM_F_REQUEST, 6)
  head.writeUInt32LE(sequence, 8)
  head.writeUInt8(family, NLMSG_HEADER)
  return head
}

const netlinkFailed = (libc: Libc, call: string): PortctlError =>
  PortctlError.of('syscall-failed', {
    call,
    errno: errnoName(libc.errno()),
    subject: 'netfilter netlink socket',
  })

/** Runs `talk` with a socket into the network namespace of this process. @throws `syscall-failed` */
export const withNetlink = <T>(libc: Libc, talk: (socket: number) => T): T => {
  const socket = libc.socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)
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
