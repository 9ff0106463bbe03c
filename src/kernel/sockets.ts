/**
 * Who holds a port: sock_diag, or /proc/net/{tcp,udp}[6], gives the socket's inode, /proc/PID/fd the process that has it
 * open (proc(5)). The second step looks at every descriptor of every process, so it is for error messages only.
 */
import { open, readdir, readFile, readlink } from 'node:fs/promises'
import { type Address, type Port, type PortRange, parseAddress } from '../core/address.ts'
import { diagnosedSockets } from './sock-diag.ts'
import type { Sysctl } from './sysctl.ts'

export interface BoundSocket {
  readonly address: Address
  readonly port: Port
  readonly inode: number
}

export interface PortOwner extends BoundSocket {
  /** Null when the socket is held by no process we may look at (another user's, or the kernel's own). */
  readonly pid: number | null
  readonly process: string | null
}

export type Transport = 'tcp' | 'udp'

/** include/net/tcp_states.h; an unconnected UDP socket shows CLOSE. */
const LISTEN = '0A'
const UNCONNECTED = '07'

/** 32-bit words in the machine's byte order (all machines that Node 20 supports on Linux but s390x: little-endian). */
const parseHexAddress = (hex: string): Address => {
  const words = hex.match(/.{8}/g) ?? []
  const bytes = words.flatMap(word => (word.match(/../g) ?? []).reverse())
  if (bytes.length === 4) return parseAddress(bytes.map(byte => Number.parseInt(byte, 16)).join('.'))
  return parseAddress((bytes.join('').match(/.{4}/g) ?? []).join(':'))
}

/** Listening TCP sockets, or unconnected UDP sockets, of one /proc/net file. */
export const parseSocketTable = (text: string, transport: Transport): readonly BoundSocket[] => {
  const state = transport === 'tcp' ? LISTEN : UNCONNECTED
  return text
    .split('\n')
    .slice(1)
    .flatMap(line => {
      const [, local = '', , st, , , , , , inode] = line.trim().split(/\s+/)
      const [address = '', port = ''] = local.split(':')
      if (st !== state) return []
      return [{ address: parseHexAddress(address), port: Number.parseInt(port, 16), inode: Number(inode) }]
    })
}

const readIfThere = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

const PAGE = 4096

/**
 * A /proc/net file. Of a TCP table only what is needed: the kernel writes listening sockets first (tcp_seq_start in
 * net/ipv4/tcp_ipv4.c), and a busy host has tens of thousands of others, which take it a second to write.
 */
const readSocketTable = async (path: string, transport: Transport): Promise<string> => {
  const file = await open(path).catch(() => null)
  if (file === null) return ''
  try {
    const page = Buffer.alloc(PAGE)
    for (let text = ''; ; ) {
      const { bytesRead } = await file.read(page, 0, PAGE)
      const more = page.toString('latin1', 0, bytesRead)
      text += more
      const end = more.lastIndexOf('\n')
      const last = more.slice(more.lastIndexOf('\n', end - 1) + 1, end)
      if (bytesRead === 0 || (transport === 'tcp' && end > 0 && !isListener(last))) return text
    }
  } catch {
    return ''
  } finally {
    await file.close()
  }
}

/** The heading counts as one: sockets may follow. */
const isListener = (line: string): boolean => {
  const state = line.trim().split(/\s+/)[3]
  return state === LISTEN || state === 'st'
}

/** Of the namespace that process `pid` is in. */
export const boundSockets = async (
  transport: Transport,
  pid: number | 'self' = 'self',
): Promise<readonly BoundSocket[]> =>
  (await diagnosedSockets(transport, pid)) ?? (await tabledSockets(transport, pid))

/** The same from /proc, in any namespace and without FFI. */
export const tabledSockets = async (
  transport: Transport,
  pid: number | 'self',
): Promise<readonly BoundSocket[]> => {
  // Of the thread that reads: the main one may just be in another namespace (libc/entrance.ts).
  const here = pid === 'self' ? 'thread-self' : pid
  const tables = await Promise.all(
    [transport, `${transport}6`].map(table => readSocketTable(`/proc/${here}/net/${table}`, transport)),
  )
  return tables.flatMap(table => parseSocketTable(table, transport))
}

const holdsSocket = async (pid: string, inode: number): Promise<boolean> => {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => [])
  const links = await Promise.all(fds.map(fd => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
  return links.includes(`socket:[${inode}]`)
}

/** The process that holds a socket; the first when several share it. */
const holderOf = async (
  inode: number,
): Promise<{ readonly pid: number; readonly process: string } | null> => {
  for (const pid of (await readdir('/proc')).filter(entry => /^\d+$/.test(entry)))
    if (await holdsSocket(pid, inode))
      return { pid: Number(pid), process: (await readIfThere(`/proc/${pid}/comm`)).trimEnd() }
  return null
}

/** Everybody on a port, on whatever address. */
export const portOwners = async (
  transport: Transport,
  port: Port,
  pid: number | 'self' = 'self',
): Promise<readonly PortOwner[]> => {
  const sockets = (await boundSockets(transport, pid)).filter(socket => socket.port === port)
  return Promise.all(
    sockets.map(async socket => {
      const holder = await holderOf(socket.inode)
      return { ...socket, pid: holder?.pid ?? null, process: holder?.process ?? null }
    }),
  )
}

/** `net.ipv4.ip_local_port_range` (both families); the kernel's own default when it cannot be read. */
export const localPortRange = async (sysctl: Sysctl): Promise<PortRange> => {
  const text = (await sysctl.read('net/ipv4/ip_local_port_range')) ?? '32768 60999'
  const [first = 0, last = 0] = text.split(/\s+/).map(Number)
  return { first, last }
}

/** `net.ipv4.ip_local_reserved_ports`: ports the kernel does not pick by itself, `8080,9000-9010`. */
export const reservedPorts = async (sysctl: Sysctl): Promise<readonly PortRange[]> => {
  const text = (await sysctl.read('net/ipv4/ip_local_reserved_ports')) ?? ''
  return text
    .split(',')
    .filter(part => part !== '')
    .map(part => {
      const [first = 0, last = first] = part.split('-').map(Number)
      return { first, last }
    })
}
