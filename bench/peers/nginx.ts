/** nginx's stream module, two workers, its defaults otherwise (16 kB buffer a direction, no splice). */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '../lab/paths.ts'
import { listening, start, until } from '../lab/process.ts'
import { furnished, type Peer, PUBLISHED, published, SERVICES } from './peer.ts'

const MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so'

const config = (container: string): string => `
load_module ${MODULE};
worker_processes 2;

daemon off;
user root;
pid stream.pid;
error_log stderr crit;
events { worker_connections 19000; }
stream {
${SERVICES.map(
  s => `
  server {
    listen 0.0.0.0:${s.port}${s.protocol === 'udp' ? ' udp reuseport' : ' backlog=4096'};
    proxy_pass ${container}:${s.to};
  }
`,
).join('')}}
`

export const nginx: Peer = {
  name: 'nginx stream',
  needs: { nginx: 'nginx', [MODULE]: 'libnginx-mod-stream' },
  start: async (name = 'nginx') => {
    const world = await furnished(name)
    const file = join(paths.work, `${name}.conf`)
    await writeFile(file, config(world.target[4]))
    const proxy = start(world.host, ['nginx', '-p', paths.work, '-c', file])
    await until('nginx', () => listening(world.host, PUBLISHED.http))
    return { name: nginx.name, world, endpoint: published, pids: async () => [proxy.pid] }
  },
}
