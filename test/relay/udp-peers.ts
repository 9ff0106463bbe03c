/**
 * The two ends around a relay under test: datagram sockets whose arrivals can be awaited, in a network namespace
 * of the test process's own.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import koffi from 'koffi'

const CLONE_NEWNET = 0x4000_0000

/** Addresses that `enterNamespace` puts on lo beside 127.0.0.1 and ::1. */
export const HOST_ADDRESSES = { v4: ['10.11.0.1', '10.11.0.2'], v6: ['fd11::1', 'fd11::2'] } as const

/**
 * Moves the calling thread into a fresh namespace, lo up; it vanishes with the process. Threads and child
 * processes started afterwards are born in it. Test files run in a process each, on its main thread.
 */
export const enterNamespace = (): void => {
  const unshare = koffi.load(null).func('int unshare(int flags)')
  if (unshare(CLONE_NEWNET) !== 0) throw new Error('unshare(CLONE_NEWNET) failed: the tests need root')
  const ip = (...args: string[]) => execFileSync('ip', args)
  ip('link', 'set', 'lo', 'up')
  for (const address of HOST_ADDRESSES.v4) ip('address', 'add', `${address}/32`, 'dev', 'lo')
  for (const address of HOST_ADDRESSES.v6) ip('address', 'add', `${address}/128`, 'dev', 'lo', 'nodad')
}

export interface Arrival {
  readonly data: Buffer
  readonly from: RemoteInfo
}

const PATIENCE = 5_000

/** A datagram socket; what arrives is queued until `receive` takes it. */
export class Peer {
  readonly #socket
  readonly #queue: Arrival[] = []
  readonly #waiting: ((arrival: Arrival) => void)[] = []
  readonly #echo: boolean

  private constructor(family: 'udp4' | 'udp6', echo: boolean) {
    this.#socket = createSocket({ type: family, ipv6Only: family === 'udp6', recvBufferSize: 4 << 20 })
    this.#echo = echo
    // A refused datagram is reported on the socket; the tests look at what arrives instead.
    this.#socket.on('error', () => undefined)
    this.#socket.on('message', (data, from) => this.#arrived({ data, from }))
  }

  /** `port` 0 takes any. An echo peer answers every datagram with itself, and queues it too. */
  static async bind(address: string, port = 0, { echo = false } = {}): Promise<Peer> {
    const peer = new Peer(address.includes(':') ? 'udp6' : 'udp4', echo)
    peer.#socket.bind(port, address)
    await once(peer.#socket, 'listening')
    return peer
  }

  /** A client that hears only `address`:`port` from now on, as connect(2) has it. */
  static async connect(address: string, port: number): Promise<Peer> {
    const peer = new Peer(address.includes(':') ? 'udp6' : 'udp4', false)
    peer.#socket.connect(port, address)
    await once(peer.#socket, 'connect')
    return peer
  }

  get port(): number {
    return this.#socket.address().port
  }

  send(data: string | Buffer, to?: { readonly address: string; readonly port: number }): Promise<void> {
    const sent = (resolve: () => void) => () => resolve()
    return new Promise(resolve => {
      if (to === undefined) this.#socket.send(data, sent(resolve))
      else this.#socket.send(data, to.port, to.address, sent(resolve))
    })
  }

  receive(): Promise<Arrival> {
    const ready = this.#queue.shift()
    if (ready !== undefined) return Promise.resolve(ready)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no datagram arrived')), PATIENCE)
      this.#waiting.push(arrival => {
        clearTimeout(timer)
        resolve(arrival)
      })
    })
  }

  /** Sends and awaits the next arrival. */
  async ask(data: string | Buffer): Promise<Arrival> {
    await this.send(data)
    return this.receive()
  }

  /** What has arrived and was not taken. */
  get unread(): readonly Arrival[] {
    return this.#queue
  }

  async close(): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }

  #arrived(arrival: Arrival): void {
    if (this.#echo) this.#socket.send(arrival.data, arrival.from.port, arrival.from.address)
    const waiting = this.#waiting.shift()
    if (waiting === undefined) this.#queue.push(arrival)
    else waiting(arrival)
  }
}

const ECHO_PROGRAM = `
  const s = require('node:dgram').createSocket(process.argv[1].includes(':') ? 'udp6' : 'udp4')
  s.on('message', (data, from) => s.send(data, from.port, from.address))
  s.bind(Number(process.argv[2]), process.argv[1], () => process.stdout.write('ready'))
`

/** An echo server on the loopback of a namespace of its own, that has no other interface. */
export const echoInNamespace = async (
  address: string,
  port: number,
): Promise<{ readonly netns: string; readonly child: ChildProcess }> => {
  const child = spawn(
    'unshare',
    [
      '--net',
      'sh',
      '-c',
      'ip link set lo up && exec "$@"',
      'sh',
      process.execPath,
      '-e',
      ECHO_PROGRAM,
      '--',
      address,
      String(port),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(child.stdout, 'data')
  return { netns: `/proc/${child.pid}/ns/net`, child }
}
