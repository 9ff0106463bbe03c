/** The two ends around a relay under test: TCP sockets whose bytes and ends can be awaited. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** How the other end left: FIN after its last byte, or RST. */
export type End = 'fin' | 'reset'

export class TcpPeer {
  readonly socket: Socket
  readonly #chunks: Buffer[] = []
  #size = 0
  #end: End | undefined
  #wake: () => void = () => undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (data: Buffer) => {
      this.#chunks.push(data)
      this.#size += data.length
      this.#wake()
    })
    socket.once('end', () => this.#ended('fin'))
    socket.once('error', () => this.#ended('reset'))
  }

  /** A client on its way; it may end before it is connected. */
  static start(address: string, port: number, localPort?: number): TcpPeer {
    const from = localPort === undefined ? {} : { localPort, localAddress: address }
    return new TcpPeer(connect({ host: address, port, allowHalfOpen: true, noDelay: true, ...from }))
  }

  static async connect(address: string, port: number, localPort?: number): Promise<TcpPeer> {
    const peer = TcpPeer.start(address, port, localPort)
    await once(peer.socket, 'connect')
    return peer
  }

  /** Bytes arrived and not yet taken. */
  get size(): number {
    return this.#size
  }

  /** The next `size` bytes. */
  async read(size: number): Promise<Buffer> {
    while (this.#size < size) {
      if (this.#end !== undefined) throw new Error(`${this.#end} after ${this.#size} of ${size} bytes`)
      await this.#news()
    }
    const all = Buffer.concat(this.#chunks.splice(0))
    this.#chunks.push(all.subarray(size))
    this.#size -= size
    return all.subarray(0, size)
  }

  async text(size: number): Promise<string> {
    return String(await this.read(size))
  }

  /** Awaits the other end's end; whatever bytes come before it stay to be read. */
  async end(): Promise<End> {
    while (this.#end === undefined) await this.#news()
    return this.#end
  }

  /** Everything up to FIN. */
  async rest(): Promise<Buffer> {
    if ((await this.end()) === 'reset') throw new Error('reset instead of FIN')
    return this.read(this.#size)
  }

  /** Resolves when the bytes are in the kernel, however long the reader takes. */
  write(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.write(data, error => (error ? reject(error) : resolve()))
    })
  }

  /** Sends FIN. */
  finish(): void {
    this.socket.end()
  }

  reset(): void {
    this.socket.resetAndDestroy()
  }

  #ended(end: End): void {
    this.#end ??= end
    this.#wake()
  }

  #news(): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve
    })
  }
}

/** A listening backend; `accept` gives its connections in order. */
export class TcpBackend {
  readonly #server: Server
  readonly #queue: TcpPeer[] = []
  readonly #waiting: ((peer: TcpPeer) => void)[] = []
  readonly all: TcpPeer[] = []

  private constructor(greet: ((peer: TcpPeer) => void) | undefined) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
      const peer = new TcpPeer(socket)
      this.all.push(peer)
      if (greet !== undefined) greet(peer)
      else {
        const waiting = this.#waiting.shift()
        if (waiting === undefined) this.#queue.push(peer)
        else waiting(peer)
      }
    })
  }

  static async listen(
    address: string,
    port = 0,
    greet: ((peer: TcpPeer) => void) | undefined = undefined,
  ): Promise<TcpBackend> {
    const backend = new TcpBackend(greet)
    backend.#server.listen({ host: address, port, ipv6Only: true, backlog: 1024 })
    await once(backend.#server, 'listening')
    return backend
  }

  /** Answers everything with itself, FIN included. */
  static echo(address: string, port = 0): Promise<TcpBackend> {
    return TcpBackend.listen(address, port, ({ socket }) => socket.pipe(socket))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  accept(): Promise<TcpPeer> {
    const ready = this.#queue.shift()
    return ready === undefined ? new Promise(resolve => this.#waiting.push(resolve)) : Promise.resolve(ready)
  }

  async close(): Promise<void> {
    for (const { socket } of this.all) socket.destroy()
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }
}

const ECHO_PROGRAM = `
  const [address, port, name] = process.argv.slice(1)
  require('node:net')
    .createServer(s => s.on('error', () => {}).on('data', d => s.write(name + ':' + d)))
    .listen(Number(port), address, () => process.stdout.write('ready'))
`

/** A server on the loopback of a namespace that has no other interface; it answers `name:` and what it was sent. */
export const serveInNamespace = async (
  address: string,
  port: number,
  name: string,
): Promise<{ readonly netns: string; readonly child: ChildProcess }> => {
  const up = 'ip link set lo up && exec "$@"'
  const program = [process.execPath, '-e', ECHO_PROGRAM, '--', address, `${port}`, name]
  const child = spawn('unshare', ['--net', 'sh', '-c', up, 'sh', ...program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return { netns: `/proc/${child.pid}/ns/net`, child }
}
