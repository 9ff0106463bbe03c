/** What one would write first in Node: `socket.pipe(socket)` both ways. */
import { listening, start, until } from '../lab/process.ts'
import { furnished, type Peer, PUBLISHED, published, SERVICES } from './peer.ts'

const PROGRAM = `
const net = require('node:net')
const [container, ...pairs] = process.argv.slice(1)
for (const pair of pairs) {
  const [port, to] = pair.split(':').map(Number)
  net.createServer({ allowHalfOpen: true, noDelay: true }, client => {
    const backend = net.connect({ port: to, host: container, allowHalfOpen: true, noDelay: true })
    client.on('error', () => backend.destroy())
    backend.on('error', () => client.destroy())
    client.pipe(backend)
    backend.pipe(client)
  }).listen({ port, host: '0.0.0.0', backlog: 4096 })
}
`

export const nodePipe: Peer = {
  name: 'node:net pipe',
  needs: {},
  start: async (name = 'node-pipe') => {
    const world = await furnished(name)
    const pairs = SERVICES.filter(s => s.protocol === 'tcp').map(s => `${s.port}:${s.to}`)
    const proxy = start(world.host, ['node', '-e', PROGRAM, world.target[4], ...pairs])
    await until('node pipe', () => listening(world.host, PUBLISHED.http))
    return { name: nodePipe.name, world, endpoint: published, pids: async () => [proxy.pid] }
  },
}
