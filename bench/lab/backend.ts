/** What answers inside the container: nginx for HTTP, iperf3 for bulk; cases that echo or take UDP bring their own. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from './paths.ts'
import { listening, type Netns, start, until } from './process.ts'

/** Ports inside the container. */
export const BACKEND = { http: 80, bulk: 5201, echo: 7, udp: 9000, ping: 9001 } as const
export type Service = keyof typeof BACKEND

const NGINX = `
worker_processes 1;
daemon off;
user root;
pid backend.pid;
error_log stderr crit;

events { worker_connections 9000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  server {
    listen 80 backlog=4096;
    listen [::]:80 backlog=4096;
    location / { return 200 "hello world\\n"; }
  }
}
`

export const startBackend = async (container: Netns): Promise<void> => {
  const config = join(paths.work, 'backend.conf')
  await writeFile(config, NGINX)
  start(container, ['nginx', '-p', paths.work, '-c', config])
  start(container, ['iperf3', '--server'])
  await until('backend', async () => (await listening(container, 80)) && (await listening(container, 5201)))
}
