/** `run` in the foreground and `exec`: stdin, stdout, stderr, status, signals and a terminal are the command's own. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { waitFor } from '../lab/lab.ts'
import { type Instance, PORTCTL } from '../lab/portctl.ts'
import { call } from '../paths/bed.ts'
import { type ContainerRow, rowOf, startContainer, startedInstance } from './bed.ts'

const lab = useLab()
let portctl: Instance
let web: string
let number = 0
let name: string

beforeAll(async () => {
  portctl = await startedInstance(lab())
  web = await startContainer(portctl, 'web')
})
beforeEach(() => {
  name = portctl.name(`fg${++number}`)
})

/** The command line as a child, with all it wrote. */
const start = (...args: readonly string[]) => {
  const child: ChildProcessWithoutNullStreams = lab().spawn(
    lab().host,
    process.execPath,
    [PORTCTL, ...args],
    { env: portctl.env },
  )
  const said = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].on('data', chunk => {
      said[stream] += String(chunk)
    })
  const ended = new Promise<number>(resolve => child.on('close', code => resolve(code ?? -1)))
  return { child, said, ended, says: (text: string) => waitFor(text, () => said.stdout.includes(text)) }
}

/** The command may have said something before the daemon was told of it. */
const running = (container: string): Promise<ContainerRow> =>
  waitFor(`${container} to run`, async () => {
    const row = await rowOf(portctl, container)
    return row?.status === 'running' && row
  })

const ways = [
  { way: 'run', words: () => ['run', '--rm', '--name', name] },
  { way: 'exec', words: () => ['exec', web] },
] as const

describe.each(ways)('$way', ({ words }) => {
  test.each([
    ['exit 0', 0],
    ['exit 3', 3],
    ['kill -TERM $$', 128 + 15],
    ['kill -KILL $$', 128 + 9],
  ])('%s: status %i', async (script, status) => {
    expect((await portctl.run([...words(), '--', 'sh', '-c', script])).exitCode).toBe(status)
  })

  test('a command that is not there: 127; one that cannot be executed: 126', async () => {
    expect((await portctl.run([...words(), '--', 'no-such-command'])).exitCode).toBe(127)
    expect((await portctl.run([...words(), '--', '/etc/passwd'])).exitCode).toBe(126)
    expect((await portctl.json<ContainerRow[]>('ps')).map(row => row.name)).toEqual([web])
  })

  test('stdin, stdout and stderr go through, byte by byte', async () => {
    const bytes = '\x00\x01 ünicode\r\n'.repeat(10_000)
    const copied = await portctl.run([...words(), '--', 'sh', '-c', 'cat; echo to stderr >&2'], {
      input: bytes,
    })
    expect(copied.stdout === bytes).toBe(true)
    expect(copied).toMatchObject({ exitCode: 0, stderr: 'to stderr\n' })
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const)('%s reaches the command', async signal => {
    const trap = `trap 'echo got ${signal}; exit 42' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`
    const { child, said, ended, says } = start(...words(), '--', 'sh', '-c', trap)
    await says('ready')
    child.kill(signal)
    expect(await ended).toBe(42)
    expect(said.stdout).toBe(`ready\ngot ${signal}\n`)
  })

  test('a signal that the command does not handle ends it, and the command line says so', async () => {
    const { child, ended, says } = start(...words(), '--', 'sh', '-c', 'echo ready; exec sleep 600')
    await says('ready')
    child.kill('SIGINT')
    expect(await ended).toBe(128 + 2)
  })

  test("a terminal is the command's, and ^C reaches it once", async () => {
    const inside = `test -t 0 && test -t 1 && echo is a tty; trap 'echo interrupted; n=$((n+1))' INT; echo ready; while [ -z "$n" ]; do sleep 0.05; done; sleep 0.3; echo $n; exit 9`
    const line = [process.execPath, PORTCTL, ...words(), '--', 'sh', '-c', inside]
    const quoted = line.map(word => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
    // `exec`: no shell of script(1)'s own in the foreground group, which ^C would end first.
    const child = lab().spawn(lab().host, 'script', ['-qec', `exec ${quoted}`, '/dev/null'], {
      env: portctl.env,
    })
    let screen = ''
    child.stdout.on('data', chunk => {
      screen += String(chunk)
    })
    const ended = new Promise<number>(resolve => child.on('close', code => resolve(code ?? -1)))
    await waitFor('the command', () => screen.includes('ready'))
    child.stdin.write('\x03')
    expect(await ended).toBe(9)
    expect(screen.replaceAll('\r', '').replace('^C', '')).toBe('is a tty\nready\ninterrupted\n1\n')
  })

  test("the network is the container's, the rest the caller's", async () => {
    const script = 'ip -br link | wc -l; readlink /proc/self/ns/pid; pwd; echo $MARK'
    const { stdout } = await portctl.run([...words(), '--', 'sh', '-c', script], {
      env: { MARK: 'handed on' },
      cwd: '/usr',
    })
    const pidns = (await lab().sh(lab().host, 'readlink', '/proc/self/ns/pid')).trim()
    expect(stdout).toBe(`2\n${pidns}\n/usr\nhanded on\n`)
  })
})

test('run: listed while it runs, published, and gone without a trace with --rm', async () => {
  const { host, lan } = lab()
  const server = `require('net').createServer(s => s.end('{"name":"fg","peer":{"address":"' + s.remoteAddress + '"}}\\n')).listen(80, () => console.log('ready'))`
  const { child, said, ended, says } = start(
    ...['run', '--rm', '--name', name, '-p', '8080:80', '--', process.execPath, '-e', server],
  )
  await says('ready')
  // Stdout is the command's alone.
  expect(said.stdout).toBe('ready\n')
  expect(said.stderr).toContain('8080')
  const { pid } = await running(name)
  expect((await lab().sh(host, 'ip', 'netns', 'identify', String(pid))).trim()).toBe(name)
  expect((await call(lab(), lan, host.ipv4, 8080)).client).toBe(lan.ipv4)
  child.kill('SIGTERM')
  expect(await ended).toBe(128 + 15)
  expect(await rowOf(portctl, name)).toBeUndefined()
  expect(await portctl.json('ls')).toEqual([])
  expect(existsSync(`/run/netns/${name}`)).toBe(false)
})

test('run without --rm: the record stays, with the status', async () => {
  await portctl.run(['run', '--name', name, '--', 'sh', '-c', 'exit 4'])
  expect(await portctl.json('inspect', name)).toMatchObject({ status: 'exited', pid: null, exitCode: 4 })
  expect(await portctl.ok('rm', name)).toBe(`${name}\n`)
})

test("run: stopped from elsewhere, it ends with the command's status", async () => {
  const { ended, says } = start(
    'run',
    '--name',
    name,
    '--',
    'sh',
    '-c',
    `trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done`,
  )
  await says('ready')
  await portctl.ok('stop', name)
  expect(await ended).toBe(6)
  expect(await portctl.json('inspect', name)).toMatchObject({ status: 'exited', exitCode: 6 })
  await portctl.ok('rm', name)
})

test('run: the command line killed, the command goes on, and its end is noticed', async () => {
  const { child, says } = start('run', '--name', name, '--', 'sh', '-c', 'echo ready; exec sleep 600')
  await says('ready')
  const { pid } = await running(name)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect((await rowOf(portctl, name))?.status).toBe('running')
  process.kill(pid as number, 'SIGKILL')
  await waitFor('its end', async () => (await rowOf(portctl, name))?.status === 'exited')
  await portctl.ok('rm', name)
})

test('run: the daemon killed, the command goes on and its status is passed on', async () => {
  const { child, said, ended, says } = start(
    ...['run', '--name', name, '--', 'sh', '-c', 'echo ready; read line; exit $line'],
  )
  await says('ready')
  await running(name)
  await portctl.stop('SIGKILL')
  await portctl.start()
  child.stdin.end('8\n')
  expect(await ended, said.stderr).toBe(8)
  expect(await portctl.json('inspect', name)).toMatchObject({ status: 'exited', exitCode: 8 })
  await portctl.ok('rm', name)
})

test('a name is made up when none is given', async () => {
  const [a, b] = [
    await portctl.ok('run', '-d', '--', 'sleep', '600'),
    await portctl.ok('run', '-d', '--', 'sleep', '600'),
  ]
  expect(a).toMatch(/^c[0-9a-f]{12}\n$/)
  expect(a).not.toBe(b)
  await portctl.ok('rm', '-f', a.trim(), b.trim())
})

test('exec in a container that is not there', async () => {
  expect(await portctl.run(['exec', 'no-such-container', '--', 'true'])).toMatchObject({
    exitCode: 1,
    stdout: '',
    stderr: expect.stringContaining('[container-not-found]'),
  })
})
