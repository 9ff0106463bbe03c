/** Idle connections in number, and how quickly a new one is served beside them. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { percentiles } from './histogram.ts'
import type { Address, Agent } from './protocol.ts'

export const echo: Agent['echo'] = async ({ port, processes = 1 }) => {
  const server = createServer()
  serveEcho(server)
  server.listen({ port, host: '::', backlog: 4096 })
  await once(server, 'listening')
  const program = process.argv[1] ?? ''
  for (let others = processes - 1; others > 0; others--)
    await new Promise(resolve => fork(program).send({}, server, resolve))
}

/** The socket may be one that other processes listen on as well. */
export const serveEcho = (server: Server): void => {
  server.on('connection', socket => {
    socket.setNoDelay(true)
    socket.on('data', chunk => socket.write(chunk))
    socket.on('error', () => socket.destroy())
  })
}

const held: Socket[] = []
/** Connects at once: below every backlog. */
const AT_ONCE = 200

export const hold: Agent['hold'] = async ({ host, port, count }) => {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) held.push(await touched({ host, port }))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

export const release: Agent['release'] = async () => {
  for (const socket of held.splice(0)) socket.resetAndDestroy()
}

export const firstByte: Agent['firstByte'] = async ({ host, port, count }) => {
  const times = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const from = performance.now()
    const socket = await touched({ host, port })
    times[i] = performance.now() - from
    socket.resetAndDestroy()
  }
  return percentiles(times)
}

/** A connection over which one byte went to and fro. */
const touched = async ({ host, port }: Address): Promise<Socket> => {
  const socket = connect({ host, port, noDelay: true })
  socket.write('x')
  await once(socket, 'data')
  socket.on('error', () => socket.destroy())
  return socket
}
