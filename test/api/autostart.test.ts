import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ensureDaemon } from '../../src/api/autostart.ts'
import { connect } from '../../src/api/client.ts'

let distDir: string
beforeAll(async () => {
  distDir = mkdtempSync(join(tmpdir(), 'portctl-dist-'))
  await build({
    entryPoints: [join(import.meta.dirname, 'fake-daemon.ts')],
    outfile: join(distDir, 'portctl.cjs'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    external: ['koffi'],
  })
})
afterAll(() => rmSync(distDir, { recursive: true }))

let base: string
let notices: string[]
let started: Set<number>
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'portctl-start-'))
  mkdirSync(join(base, 'run'))
  notices = []
  started = new Set()
})
afterEach(async () => {
  for (const pid of started) process.kill(pid, 'SIGKILL')
  rmSync(base, { recursive: true })
})

const options = (env: NodeJS.ProcessEnv = {}) => ({
  runDir: join(base, 'run'),
  stateDir: join(base, 'state'),
  distDir,
  env: { ...process.env, ...env },
  notify: (line: string) => notices.push(line),
})
const daemonPid = async (): Promise<number> => {
  const { pid } = await connect({ runDir: join(base, 'run') }).status()
  started.add(pid)
  return pid
}

describe('ensureDaemon', () => {
  it('starts a daemon that answers when it resolves, says so once, and leaves a running one alone', async () => {
    expect(await ensureDaemon(options())).toBe(true)
    const pid = await daemonPid()
    expect(await ensureDaemon(options())).toBe(false)
    expect(await daemonPid()).toBe(pid)
    expect(notices).toHaveLength(1)
    expect(notices[0]).toContain('daemon.log')
  })

  it('detaches it: a session of its own, no terminal, its log in a file', async () => {
    await ensureDaemon(options())
    const pid = await daemonPid()
    // proc(5): pid (comm) state ppid pgrp session tty_nr …
    const [, , pgrp, session, tty] =
      readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    expect([pgrp, session, tty]).toEqual([String(pid), String(pid), '0'])
    expect(readFileSync(join(base, 'state', 'daemon.log'), 'utf8')).toContain('"ready"')
  })

  it('replaces a daemon that was killed, its socket still in place', async () => {
    await ensureDaemon(options())
    const first = await daemonPid()
    process.kill(first, 'SIGKILL')
    started.delete(first)
    while (isAlive(first)) await new Promise(resolve => setImmediate(resolve))
    expect(await ensureDaemon(options())).toBe(true)
    expect(await daemonPid()).not.toBe(first)
  })

  it('ends with one daemon and no error when many commands start one at once', async () => {
    const outcomes = await Promise.all(Array.from({ length: 6 }, () => ensureDaemon(options())))
    expect(outcomes).toContain(true)
    const pids = await Promise.all(Array.from({ length: 6 }, daemonPid))
    expect(new Set(pids).size).toBe(1)
  })

  it("shows the daemon's own error", async () => {
    await ensureDaemon(options())
    await daemonPid()
    mkdirSync(join(base, 'other'))
    await expect(ensureDaemon({ ...options(), runDir: join(base, 'other') })).rejects.toMatchObject({
      code: 'state-in-use',
      details: { stateDir: join(base, 'state') },
    })
  })

  it.each([
    ['exits', 'it ended with status 3'],
    ['dies', 'it was killed by SIGKILL'],
  ])('reports one that %s without a word, with its log', async (FAKE_DAEMON, why) => {
    await expect(ensureDaemon(options({ FAKE_DAEMON }))).rejects.toMatchObject({
      code: 'daemon-start-failed',
      message: expect.stringContaining(why),
      hint: expect.stringContaining('daemon.log'),
    })
  })

  it('waits for one that is being stopped, then starts its successor', async () => {
    await ensureDaemon(options({ FAKE_DAEMON: 'ends slowly' }))
    const first = await daemonPid()
    process.kill(first, 'SIGTERM')
    started.delete(first)
    while (existsSync(join(base, 'run', 'portctl.sock'))) await new Promise(resolve => setImmediate(resolve))
    expect(isAlive(first)).toBe(true)
    expect(await ensureDaemon(options())).toBe(true)
    expect(await daemonPid()).not.toBe(first)
  })

  it('does not start one beside a socket that it may not use', async () => {
    writeFileSync(join(base, 'no directory'), '')
    await expect(ensureDaemon({ ...options(), runDir: join(base, 'no directory') })).rejects.toMatchObject({
      code: 'daemon-unreachable',
    })
    expect(notices).toEqual([])
  })

  it('says which log it cannot write', async () => {
    writeFileSync(join(base, 'state'), 'a file where the directory should be')
    await expect(ensureDaemon(options())).rejects.toMatchObject({ code: 'state-unreadable' })
  })
})

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
