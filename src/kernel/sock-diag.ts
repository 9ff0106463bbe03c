/**
 * Bound sockets of a network namespace, over sock_diag(7), in some 70 µs. For TCP the kernel walks the listening sockets
 * only; for a /proc/net table it walks the connections of all namespaces as well.
 * Layouts: struct inet_diag_req_v2 and inet_diag_msg, linux/inet_diag.h.
 */
import { parseAddress } from '../core/address.ts'
import { createEntrance, type Entrance, openNamespace } from './libc/entrance.ts'
import { AF_INET, AF_INET6, type Libc, loadLibc, MSG_DONTWAIT, type Pinned } from './libc/index.ts'
import {
  dumpHead,
  NETLINK_SOCK_DIAG,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HEADER,
  openNetlink,
  sendMessage,
  withNetlink,
} from './netlink.ts'
import type { BoundSocket, Transport } from './sockets.ts'

const SOCK_DIAG_BY_FAMILY = 20
const REQUEST = 56
/** Offsets in a message, after its header. */
const PORT = 4
const ADDRESS = 8
const INODE = 68
const MESSAGE = 72
/** Bytes of what ends a dump. */
const ERRNO = 4
/** What one recv(2) gives at most, of a dump. */
const BUFFER = 32_768

const PROTOCOL = { tcp: 6, udp: 17 } as const
/** TCP_LISTEN; an unconnected UDP socket is in TCP_CLOSE (include/net/tcp_states.h). */
const STATES = { tcp: 1 << 10, udp: 1 << 7 } as const

const request = (transport: Transport, family: number): Buffer => {
  const body = Buffer.alloc(REQUEST)
  body.writeUInt8(family, 0)
  body.writeUInt8(PROTOCOL[transport], 1)
  body.writeUInt32LE(STATES[transport], 4)
  return Buffer.concat([dumpHead(SOCK_DIAG_BY_FAMILY, REQUEST), body])
}

const addressAt = ({ view }: Pick<Pinned, 'view'>, at: number, family: number): string => {
  if (family === AF_INET) return [0, 1, 2, 3].map(i => view.getUint8(at + i)).join('.')
  return [0, 2, 4, 6, 8, 10, 12, 14].map(i => view.getUint16(at + i, false).toString(16)).join(':')
}

/**
 * Adds the sockets of one answer. `last`: no more follow; undefined: the kernel cannot tell all (no such module, say),
 * which it also says by an errno in the message that ends a dump.
 */
export const parseAnswer = (
  answer: Pick<Pinned, 'view'>,
  size: number,
  family: number,
  found: BoundSocket[],
): 'more' | 'last' | undefined => {
  const { view } = answer
  for (let at = 0; at + NLMSG_HEADER <= size; ) {
    const length = view.getUint32(at, true)
    const type = view.getUint16(at + 4, true)
    const body = at + NLMSG_HEADER
    if (type === NLMSG_DONE)
      return length >= NLMSG_HEADER + ERRNO && view.getInt32(body, true) < 0 ? undefined : 'last'
    if (type === NLMSG_ERROR || length < NLMSG_HEADER + MESSAGE) return undefined
    found.push({
      address: parseAddress(addressAt(answer, body + ADDRESS, family)),
      port: view.getUint16(body + PORT, false),
      inode: view.getUint32(body + INODE, true),
    })
    at += (length + 3) & ~3
  }
  return 'more'
}

const ask = (
  libc: Libc,
  socket: number,
  transport: Transport,
  memory: Pinned,
): readonly BoundSocket[] | undefined => {
  const found: BoundSocket[] = []
  for (const family of [AF_INET, AF_INET6]) {
    sendMessage(libc, socket, request(transport, family))
    for (let state: ReturnType<typeof parseAnswer> = 'more'; state !== 'last'; ) {
      // The kernel answers inside send(2) and recv(2).
      const size = libc.recv(socket, memory.address, BUFFER, MSG_DONTWAIT)
      state = size > 0 ? parseAnswer(memory, size, family, found) : undefined
      if (state === undefined) return undefined
    }
  }
  return found
}

let memory: Pinned | undefined
/** Not asked again: for each question the kernel would look for the module anew. */
const unknown = new Set<Transport>()
let entrance: Entrance | undefined

/** A socket into the namespace that a process is in; −1 when it has ended, or is not ours to enter. */
const openIn = (libc: Libc, pid: number): number => {
  const there = openNamespace(libc, `/proc/${pid}/ns/net`)
  if (there < 0) return -1
  entrance ??= createEntrance(libc)
  try {
    return entrance(there, () => openNetlink(libc, NETLINK_SOCK_DIAG))
  } catch {
    // In a container's network, with the host's to look after: whatever this process did would be wrong. It can be
    // killed at any moment, and starts again from what is stored.
    process.abort()
  } finally {
    libc.close(there)
  }
}

/** Undefined where the kernel does not tell (no permission, no such module, no FFI): /proc may. */
export const diagnosedSockets = async (
  transport: Transport,
  pid: number | 'self',
): Promise<readonly BoundSocket[] | undefined> => {
  if (unknown.has(transport)) return undefined
  try {
    const libc = await loadLibc()
    memory ??= libc.pin(BUFFER)
    const pinned = memory
    const socket = pid === 'self' ? openNetlink(libc, NETLINK_SOCK_DIAG) : openIn(libc, pid)
    const found = withNetlink(libc, open => ask(libc, open, transport, pinned), socket)
    if (found === undefined) unknown.add(transport)
    return found
  } catch {
    return undefined
  }
}
