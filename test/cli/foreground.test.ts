/** The built program with a foreground command in a real namespace; the daemon is a server that only writes down. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { container } from './fake.ts'

const PROGRAM = join(import.meta.dirname, '../../dist/portctl.cjs')
const namespace = `pct-${process.pid}-${randomBytes(3).toString('hex')}-cli`
const netns = `/run/netns/${namespace}`
const runDir = mkdtempSync(join(tmpdir(), 'portctl-cli-'))
const resolvConf = join(runDir, 'resolv.conf')
const RESOLV = 'nameserver 192.0.2.53\n'

/** `METHOD path body` */
let requests: string[] = []
let detail = container()
let refuseStart = false

const server = createServer(async (request, response) => {
  const body = await text(request)
  requests.push(`${request.method} ${request.url}${body === '' ? '' : ` ${body}`}`)
  const answer = (status: number, value?: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(value === undefined ? undefined : JSON.stringify(value))
  }
  if (request.method === 'DELETE' || request.url?.endsWith('/exited')) answer(204)
  else if (refuseStart && request.url?.endsWith('/started')) answer(500)
  else if (request.url === '/v1/containers') answer(201, { container: detail, publications: [], notes: [] })
  else answer(200, detail)
})

beforeAll(async () => {
  execFileSync('ip', ['netns', 'add', namespace])
  writeFileSync(resolvConf, RESOLV)
  server.listen(join(runDir, 'portctl.sock'))
  await once(server, 'listening')
})

afterAll(async () => {
  server.close()
  rmSync(runDir, { recursive: true })
  execFileSync('ip', ['netns', 'del', namespace])
})

beforeEach(() => {
  requests = []
  refuseStart = false
  detail = container({ netns, resolvConf })
})

const start = (...args: readonly string[]) => {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: 'pipe',
    env: { ...process.env, PORTCTL_RUN_DIR: runDir, PORTCTL_STATE_DIR: runDir },
  })
  const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]).then(
    ([stdout, stderr, [status]]) => ({ stdout, stderr, status: status as number | null }),
  )
  return { child, ended }
}

const portctl = (args: readonly string[], input = '') => {
  const { child, ended } = start(...args)
  child.stdin.end(input)
  return ended
}

describe('exec', () => {
  it("is inside the namespace, with the container's resolv.conf and this host's /sys", async () => {
    const { stdout } = await portctl([
      ...['exec', 'web', '--', 'sh', '-c'],
      'readlink /proc/self/ns/net; cat /etc/resolv.conf; ls /sys/fs/cgroup | wc -l',
    ])
    const [ns, ...rest] = stdout.split('\n')
    const inode = execFileSync('stat', ['-Lc', '%i', netns], { encoding: 'utf8' }).trim()
    expect(ns).toBe(`net:[${inode}]`)
    expect(ns).not.toBe(readlinkSync('/proc/self/ns/net'))
    expect(rest[0]).toBe(RESOLV.trim())
    expect(Number(rest[1])).toBeGreaterThan(0)
    expect(readFileSync('/etc/resolv.conf', 'utf8')).not.toBe(RESOLV)
  })

  it('passes stdin, stdout, stderr and the status on, and no stray descriptor', async () => {
    expect(await portctl(['exec', 'web', '--', 'sh', '-c', 'cat; echo err >&2; exit 42'], 'hello')).toEqual({
      stdout: 'hello',
      stderr: 'err\n',
      status: 42,
    })
    const { stdout } = await portctl(['exec', 'web', '--', 'sh', '-c', 'test -e /proc/$$/fd/3 || echo none'])
    expect(stdout).toBe('none\n')
  })

  it('keeps arguments as they are', async () => {
    const odd = ['a b', '', '$HOME', "'", '--', '-x', '\n']
    const { stdout } = await portctl(['exec', 'web', '--', 'printf', '[%s]', ...odd])
    expect(stdout).toBe(odd.map(arg => `[${arg}]`).join(''))
  })

  it('says why the container could not be entered', async () => {
    detail = container({ netns, resolvConf: join(runDir, 'absent') })
    const { status, stdout, stderr } = await portctl(['exec', 'web', '--', 'echo', 'never'])
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(
      /^portctl: cannot enter container 'web': mount: .*absent.* \[container-setup-failed\]\n$/,
    )
    detail = container({ netns: '/run/netns/absent', resolvConf })
    expect((await portctl(['exec', 'web', '--', 'echo'])).stderr).toContain('[container-setup-failed]')
  })
})

describe('run', () => {
  it('tells the start with the pid of the command, then the end with its status', async () => {
    const { stdout, status } = await portctl(['run', '--name', 'web', '--', 'sh', '-c', 'echo $$; exit 3'])
    expect(status).toBe(3)
    expect(requests.slice(1)).toEqual([
      `POST /v1/containers/web/started {"pid":${stdout.trim()}}`,
      'POST /v1/containers/web/exited {"exitCode":3}',
    ])
  })

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'] as const)('forwards %s', async signal => {
    const script = `trap 'echo got; exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.02; done`
    const { child, ended } = start('run', '--', 'sh', '-c', script)
    await once(child.stdout, 'data')
    child.kill(signal)
    expect(await ended).toMatchObject({ status: 9 })
    expect(requests.at(-1)).toBe('POST /v1/containers/web/exited {"exitCode":9}')
  })

  it('ends with 128 + n after signal n', async () => {
    const { child, ended } = start('run', '--', 'sh', '-c', 'echo ready; exec sleep 60')
    await once(child.stdout, 'data')
    child.kill('SIGTERM')
    expect((await ended).status).toBe(143)
    expect((await portctl(['run', '--', 'sh', '-c', 'kill -KILL $$'])).status).toBe(137)
  })

  it('removes the container when the command cannot be started', async () => {
    detail = container({ netns, resolvConf: join(runDir, 'absent') })
    expect(await portctl(['run', '--', 'true'])).toMatchObject({ status: 1 })
    expect(requests.at(-1)).toBe('DELETE /v1/containers/web?force=true')
    expect(requests.some(request => request.includes('started'))).toBe(false)
  })
})

describe('run, when the daemon will not hear of the start', () => {
  it('kills the command and removes the container', async () => {
    refuseStart = true
    expect((await portctl(['run', '--', 'sleep', '60'])).status).toBe(1)
    const pid = /started \{"pid":(\d+)\}/.exec(requests.join(' '))?.[1]
    expect(existsSync(`/proc/${pid}`)).toBe(false)
    expect(requests.at(-1)).toBe('DELETE /v1/containers/web?force=true')
  })
})

describe('the program', () => {
  it('--version needs nothing', async () => {
    const { version } = JSON.parse(readFileSync(join(PROGRAM, '../../package.json'), 'utf8')) as {
      version: string
    }
    expect(await portctl(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' })
    expect(requests).toEqual([])
  })

  it('ends quietly when the reader of its output has gone', () => {
    const script = 'set -o pipefail; "$0" "$1" --help | true'
    const { status, stderr } = spawnSync('bash', ['-c', script, process.execPath, PROGRAM], {
      encoding: 'utf8',
    })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })
})
