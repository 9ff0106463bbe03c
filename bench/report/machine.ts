import { cpus, release, totalmem } from 'node:os'
import { run } from '../lab/process.ts'
import type { Machine } from './results.ts'

const VERSIONS: Readonly<Record<string, readonly string[]>> = {
  dockerd: ['dockerd', '--version'],
  haproxy: ['haproxy', '-v'],
  nginx: ['nginx', '-v'],
  socat: ['socat', '-V'],
  nft: ['nft', '--version'],
  wrk: ['wrk', '-v'],
  iperf3: ['iperf3', '--version'],
}

export const describeMachine = async (): Promise<Machine> => {
  const programs: Record<string, string> = {}
  for (const [name, command] of Object.entries(VERSIONS)) {
    // wrk -v exits 1, nginx and socat do not agree on the stream: take the first version number from either.
    const output = await run(null, ['sh', '-c', `${command.join(' ')} 2>&1 || true`])
    const version = /v?(\d+\.\d+[\w.+~-]*)/.exec(output)?.[1]
    if (version !== undefined) programs[name] = version
  }
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: release(),
    node: process.versions.node,
    programs,
  }
}
