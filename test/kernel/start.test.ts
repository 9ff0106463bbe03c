import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { loadLibc } from '../../src/kernel/libc/index.ts'
import { type Ending, MAX_OUTPUT, type Setting, type Start } from '../../src/kernel/start.ts'
import { startByExeca } from '../../src/kernel/start-execa.ts'
import { createStartByVfork } from '../../src/kernel/start-vfork.ts'

const startByVfork = createStartByVfork(await loadLibc())

const openDescriptors = () => readdirSync('/proc/self/fd').length
const childrenOf = (pid: number): string => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()

describe.each([
  ['vfork', startByVfork],
  ['execa', startByExeca],
] as const)('a tool started by %s', (_, start: Start) => {
  const run = (command: string, args: readonly string[], setting: Partial<Setting> = {}): Promise<Ending> =>
    start(command, args, {
      stdin: undefined,
      inherit: [],
      env: process.env,
      signal: undefined,
      timeout: 20_000,
      ...setting,
    })
  const node = (script: string, setting?: Partial<Setting>, ...args: string[]): Promise<Ending> =>
    run(process.execPath, ['-e', script, '--', ...args], setting)
  const sh = (script: string, setting?: Partial<Setting>): Promise<Ending> =>
    run('sh', ['-c', script], setting)

  test('gives stdout and stderr, whatever the exit status', async () => {
    expect(await sh('echo out; echo err >&2; exit 3')).toEqual({
      stdout: 'out\n',
      stderr: 'err\n',
      exitCode: 3,
    })
  })

  test('gets its arguments as they are, with no shell in between', async () => {
    const args = ['$HOME', '*', 'a b', ';', '', 'ü']
    const ending = await node('process.stdout.write(JSON.stringify(process.argv.slice(1)))', {}, ...args)
    expect(ending).toMatchObject({ stdout: JSON.stringify(args) })
  })

  test('gets the environment it is given, and no other', async () => {
    const env = { PATH: process.env.PATH, A: 'b c', NONE: undefined }
    const ending = await run('env', [], { env })
    expect(ending).toEqual({ exitCode: 0, stderr: '', stdout: `PATH=${process.env.PATH}\nA=b c\n` })
  })

  test('without stdin reads its end; with it, the descriptor from where it stands', async () => {
    expect(await run('cat', [])).toMatchObject({ stdout: '' })
    const stdin = openSync('/proc/version', 'r')
    try {
      expect(await run('cat', [], { stdin })).toMatchObject({ stdout: readFileSync('/proc/version', 'utf8') })
    } finally {
      closeSync(stdin)
    }
  })

  test('gets descriptors as 3, 4, …, each its own, and no other', async () => {
    const paths = ['/proc/version', '/proc/uptime', '/proc/loadavg', '/proc/stat', '/proc/meminfo']
    const fds = paths.map(path => openSync(path, 'r'))
    const links = async (inherit: readonly number[]): Promise<Map<number, string>> => {
      const { stdout } = (await sh('exec ls -l /proc/self/fd', { inherit })) as { stdout: string }
      return new Map([...stdout.matchAll(/ (\d+) -> (\S+)/g)].map(([, fd, to]) => [Number(fd), `${to}`]))
    }
    try {
      // In reverse, so that numbers here are those of others there.
      const found = await links(fds.toReversed())
      expect(paths.map((_, i) => found.get(3 + i))).toEqual(paths.toReversed())
      expect(found.size).toBe((await links([])).size + paths.length)
    } finally {
      for (const fd of fds) closeSync(fd)
    }
  })

  test('has every signal at its default, and none blocked', async () => {
    // The last eight digits: signals 1 to 32. glibc leaves two of its own above them ignored (posix_spawn(3)).
    const ending = await sh('sed -En "s/^Sig(Blk|Ign).*(.{8})/\\2/p" /proc/self/status')
    const mask = (digits: string): number => Number.parseInt(digits, 16) & 0x7fff_ffff
    const { stdout } = ending as { stdout: string }
    expect(stdout.trim().split('\n').map(mask)).toEqual([0, 0])
  })

  test('has a process group of its own: Ctrl-C at our terminal is not for it', async () => {
    const { stdout } = (await sh('read _ _ _ _ group _ < /proc/$$/stat; echo $$ $group')) as {
      stdout: string
    }
    const [pid, group] = stdout.trim().split(' ')
    expect(group).toBe(pid)
  })

  test('may write more than a pipe holds, to both', async () => {
    const ending = await sh('head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2')
    const { stdout, stderr } = ending as { stdout: string; stderr: string }
    expect([stdout.length, stderr.length]).toEqual([3_000_000, 2_000_000])
  })

  test('that writes more than anybody could want is stopped, even if it takes that well', async () => {
    const flood = `trap 'exit 0' TERM; head -c ${MAX_OUTPUT + 1_000_000} /dev/zero | tr '\\0' x & wait`
    expect(await sh(flood)).toEqual({ stopped: 'output' })
  })

  test('that is not there, or is no program, is told by the name of the errno', async () => {
    expect(await run('no-such-tool', [])).toEqual({ notStarted: 'ENOENT' })
    expect(await run('/etc/passwd', [])).toEqual({ notStarted: 'EACCES' })
  })

  test('that ended while our thread did something else is told as it ended', async () => {
    const held = sh('echo done; exit 3', { timeout: 50 })
    execFileSync('sleep', ['0.2'])
    expect(await held).toEqual({ exitCode: 3, stdout: 'done\n', stderr: '' })
  })

  test('that minds SIGTERM by ending well is told as it ended', async () => {
    const ending = await sh('trap "echo bye; exit 0" TERM; while :; do sleep 0.05; done', { timeout: 1_000 })
    expect(ending).toEqual({ exitCode: 0, stdout: 'bye\n', stderr: '' })
  })

  test('that is killed is told by the name of the signal', async () => {
    expect(await sh('kill -9 $$')).toEqual({ killed: 'SIGKILL' })
  })

  test('that does not end is killed when its time is over, or at a signal', async () => {
    expect(await run('sleep', ['60'], { timeout: 50 })).toEqual({ stopped: 'timeout' })
    const controller = new AbortController()
    const cancelled = run('sleep', ['60'], { signal: controller.signal })
    controller.abort()
    expect(await cancelled).toEqual({ stopped: 'cancelled' })
    expect(await run('sleep', ['60'], { signal: controller.signal })).toEqual({ stopped: 'cancelled' })
    expect(childrenOf(process.pid)).toBe('')
  })

  test('that does not mind SIGTERM is killed all the same', async () => {
    const begun = performance.now()
    expect(await sh('trap "" TERM; while :; do sleep 1; done', { timeout: 200 })).toEqual({
      stopped: 'timeout',
    })
    expect(performance.now() - begun).toBeGreaterThan(4_000)
  }, 15_000)

  test('many at once end each for itself', async () => {
    const endings = await Promise.all(Array.from({ length: 50 }, (_, i) => sh(`echo ${i}; exit ${i}`)))
    expect(endings).toEqual(
      Array.from({ length: 50 }, (_, i) => ({ exitCode: i, stdout: `${i}\n`, stderr: '' })),
    )
    expect(childrenOf(process.pid)).toBe('')
  })

  test('leaves no descriptor open, however it ended', async () => {
    const all = () =>
      Promise.all([
        run('true', []),
        run('no-such-tool', []),
        run('sleep', ['9'], { timeout: 20 }),
        sh('kill $$'),
      ])
    await all()
    const before = openDescriptors()
    for (let i = 0; i < 5; i++) await all()
    expect(openDescriptors()).toBe(before)
  })
})

test('what ended a tool before we could stop it is told', async () => {
  const controller = new AbortController()
  const setting = {
    stdin: undefined,
    inherit: [],
    env: process.env,
    signal: controller.signal,
    timeout: 9_000,
  }
  const [crashed, done] = ['kill -SEGV $$', 'echo done'].map(script =>
    startByVfork('sh', ['-c', script], setting),
  )
  execFileSync('sleep', ['0.2'])
  controller.abort()
  execFileSync('sleep', ['0.4'])
  expect(await crashed).toEqual({ killed: 'SIGSEGV' })
  expect(await done).toEqual({ exitCode: 0, stdout: 'done\n', stderr: '' })
})

test('a child of the tool that keeps its output open is not waited for longer than the tool may take', async () => {
  const ending = startByVfork('sh', ['-c', 'sleep 3 & echo begun'], {
    stdin: undefined,
    inherit: [],
    env: process.env,
    signal: undefined,
    timeout: 300,
  })
  const late = sleep(2_500, 'late', { ref: false })
  expect(await Promise.race([ending, late])).toEqual({ stopped: 'timeout' })
})
