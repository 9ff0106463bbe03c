/** haproxy in TCP mode, two threads, splice forced in both directions (`splice-auto` rarely triggers). */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '../lab/paths.ts'
import { listening, start, until } from '../lab/process.ts'
import { furnished, type Peer, PUBLISHED, published, SERVICES } from './peer.ts'

const config = (container: string): string => `
global
  nbthread 2
  maxconn 4000
defaults
  mode tcp
  option splice-request
  option splice-response
  timeout connect 10s
  timeout client 1h
  timeout server 1h
${SERVICES.filter(s => s.protocol === 'tcp')
  .map(
    s => `
listen ${s.service}
  bind 0.0.0.0:${s.port} backlog 4096
  server container ${container}:${s.to}
`,
  )
  .join('')}`

export const haproxy: Peer = {
  name: 'haproxy',
  needs: { haproxy: 'haproxy' },
  start: async (name = 'haproxy') => {
    const world = await furnished(name)
    const file = join(paths.work, `${name}.cfg`)
    await writeFile(file, config(world.target[4]))
    const proxy = start(world.host, ['haproxy', '-db', '-f', file])
    await until('haproxy', () => listening(world.host, PUBLISHED.http))
    return { name: haproxy.name, world, endpoint: published, pids: async () => [proxy.pid] }
  },
}
