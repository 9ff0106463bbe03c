/** A Docker daemon of its own in a host namespace: data, state and socket in scratch directories, images imported. */
import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Laboratory } from './laboratory.ts'
import { paths } from './paths.ts'
import { type Netns, run, start, until } from './process.ts'
import { outside } from './world.ts'

export interface Docker {
  readonly client: Netns
  readonly docker: (...args: readonly string[]) => Promise<string>
  /** dockerd, its containerd and all that they started. */
  readonly pid: number
}

/** An image of busybox alone, made here: nothing is pulled. */
export const IMAGE = 'busybox:bench'

const tree = async (): Promise<string> => {
  const root = join(paths.work, 'busybox')
  await mkdir(join(root, 'bin'), { recursive: true })
  await cp('/bin/busybox', join(root, 'bin/busybox'))
  await run(null, ['chroot', root, '/bin/busybox', '--install', '-s', '/bin'])
  await mkdir(join(root, 'www'))
  await run(null, ['sh', '-c', `echo hello > ${join(root, 'www/index.html')}`])
  return root
}

let started: Promise<Docker | null> | undefined

const NEEDS = { dockerd: 'docker.io', docker: 'docker.io', busybox: 'busybox-static' }

/** The one daemon of the run. Resolves to null when Docker or busybox is not installed. */
export const docker = (laboratory: Laboratory): Promise<Docker | null> => {
  started ??= launch(laboratory)
  return started
}

const launch = async (laboratory: Laboratory): Promise<Docker | null> => {
  if (!(await laboratory.has({ name: 'docker run', needs: NEEDS }))) return null
  const { client, host } = await outside('docker')
  const socket = '/run/docker-bench.sock'
  const daemon = start(host, [
    'dockerd',
    ...['--data-root', join(paths.work, 'docker'), '--exec-root', '/run/docker-bench'],
    ...['--pidfile', '/run/docker-bench.pid', '--host', `unix://${socket}`],
    ...['--storage-driver', 'vfs', '--iptables=true', '--ip6tables=false'],
  ])
  const command = (...args: readonly string[]): Promise<string> =>
    run(null, ['docker', '--host', `unix://${socket}`, ...args], { timeout: 180_000 })
  const answers = (): Promise<boolean> =>
    command('version').then(
      () => true,
      () => false,
    )
  await until('dockerd', answers, 30_000)
  await run(null, [
    'sh',
    '-c',
    `tar -C ${await tree()} -c . | docker --host unix://${socket} import - ${IMAGE}`,
  ])
  return { client, docker: command, pid: daemon.pid }
}
