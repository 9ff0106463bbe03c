/**
 * The far side of the laboratory: one plain-JavaScript process per namespace that serves and connects on the tests'
 * behalf. Driven by JSON lines on stdin (`{id, op, …}` → `{id, result}` or `{id, error}`); ends with its stdin.
 *
 *   node agent.mjs                    driven by stdin
 *   node agent.mjs serve '[{…}, …]'   only serves, until it is killed (the command of a container)
 *
 * Servers: `who` greets each TCP client with one JSON line {name, peer, local} and then echoes; `echo` only echoes
 * (half-close kept); `http` answers every request, and `udp` every datagram, with {name, peer, local?, data}.
 */
import dgram from 'node:dgram'
import http from 'node:http'
import net from 'node:net'
import { createInterface } from 'node:readline'

const ends = socket => ({
  peer: { address: socket.remoteAddress, port: socket.remotePort },
  local: { address: socket.localAddress, port: socket.localPort },
})

const SERVERS = {
  echo: () =>
    net.createServer({ allowHalfOpen: true }, socket => {
      socket.on('error', () => {})
      socket.pipe(socket)
    }),
  who: name =>
    net.createServer({ allowHalfOpen: true }, socket => {
      socket.on('error', () => {})
      socket.write(`${JSON.stringify({ name, ...ends(socket) })}\n`)
      socket.pipe(socket)
    }),
  http: name =>
    http.createServer((request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(
        JSON.stringify({ name, ...ends(request.socket), data: `${request.method} ${request.url}` }),
      )
    }),
}

const serveUdp = async ({ host, port, name }) => {
  const socket = dgram.createSocket(host.includes(':') ? { type: 'udp6', ipv6Only: true } : 'udp4')
  socket.on('error', () => {})
  await new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(port, host, resolve)
  })
  socket.on('message', (message, { address, port: peerPort }) => {
    const answer = { name, peer: { address, port: peerPort }, data: message.toString('latin1') }
    socket.send(JSON.stringify(answer), peerPort, address)
  })
  return { port: socket.address().port, close: () => new Promise(resolve => socket.close(resolve)) }
}

const serve = async ({ kind, host, port = 0, name = '' }) => {
  if (kind === 'udp') return serveUdp({ host, port, name })
  const server = SERVERS[kind](name)
  const sockets = new Set()
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, ipv6Only: host.includes(':') }, resolve)
  })
  return {
    port: server.address().port,
    close: () =>
      new Promise(resolve => {
        for (const socket of sockets) socket.destroy()
        server.close(resolve)
      }),
  }
}

const fail = code => Object.assign(new Error(code), { code })

/** Connects, writes the payload, half-closes, collects until the other side ends. */
const askTcp = ({ host, port, payload, from, timeout }) =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, allowHalfOpen: true, ...bound(from) })
    const chunks = []
    const timer = setTimeout(() => socket.destroy(fail('ETIMEDOUT')), timeout)
    let local
    socket.on('connect', () => {
      local = ends(socket).local
      socket.end(payload)
    })
    socket.on('data', chunk => chunks.push(chunk))
    socket.on('end', () => socket.destroy())
    socket.on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve({ reply: Buffer.concat(chunks).toString('latin1'), local })
    })
  })

const bound = from => (from === undefined ? {} : { localAddress: from.address, localPort: from.port })

/** Sends one datagram from an unconnected socket and waits for one back, from whatever address it comes. */
const askUdp = ({ host, port, payload, from, timeout }) =>
  new Promise((resolve, reject) => {
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
    const finish = (error, value) => {
      clearTimeout(timer)
      socket.close()
      if (error) reject(error)
      else resolve(value)
    }
    const timer = setTimeout(() => finish(fail('ETIMEDOUT')), timeout)
    socket.on('error', finish)
    socket.on('message', (message, { address, port: peerPort }) =>
      finish(undefined, {
        reply: message.toString('latin1'),
        local: socket.address(),
        peer: { address, port: peerPort },
      }),
    )
    socket.bind(from?.port ?? 0, from?.address, () => socket.send(payload, port, host))
  })

const askHttp = ({ host, port, payload, from, timeout }) =>
  new Promise((resolve, reject) => {
    const request = http.get(
      { host, port, path: payload || '/', agent: false, timeout, ...bound(from) },
      response => {
        const chunks = []
        response.on('data', chunk => chunks.push(chunk))
        response.on('end', () =>
          resolve({ reply: Buffer.concat(chunks).toString('latin1'), local: undefined }),
        )
        response.on('error', reject)
      },
    )
    request.on('timeout', () => request.destroy(fail('ETIMEDOUT')))
    request.on('error', reject)
  })

const servers = new Map()
let nextServer = 1

const OPS = {
  serve: async options => {
    const server = await serve(options)
    const handle = nextServer++
    servers.set(handle, server)
    return { handle, port: server.port }
  },
  close: async ({ handle }) => {
    const server = servers.get(handle)
    servers.delete(handle)
    await server?.close()
    return {}
  },
  tcp: askTcp,
  udp: askUdp,
  http: askHttp,
}

const answer = message => process.stdout.write(`${JSON.stringify(message)}\n`)

const [mode, specs] = process.argv.slice(2)
if (mode === 'serve') {
  for (const spec of JSON.parse(specs)) await serve(spec)
  answer({ ready: true })
} else {
  const lines = createInterface({ input: process.stdin })
  lines.on('line', line => {
    const { id, op, ...options } = JSON.parse(line)
    OPS[op](options).then(
      result => answer({ id, result }),
      error => answer({ id, error: error.code ?? error.message }),
    )
  })
  lines.on('close', () => process.exit())
}
