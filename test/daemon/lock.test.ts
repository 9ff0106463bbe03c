import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PortctlError } from '../../src/core/errors.ts'
import { acquireLock, type Lock } from '../../src/daemon/lock.ts'

let base: string
let held: Lock[]
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'portctl-lock-'))
  held = []
})
afterEach(async () => {
  await Promise.all(held.map(lock => lock.release()))
  rmSync(base, { recursive: true })
})

const directory = (name: string) => mkdtempSync(join(base, name))
const acquire = async (dirs: { runDir: string; stateDir: string }): Promise<Lock> => {
  const lock = await acquireLock(dirs)
  held.push(lock)
  return lock
}
const refusal = async (attempt: Promise<unknown>): Promise<PortctlError> => {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(PortctlError)
  return error as PortctlError
}

describe('acquireLock', () => {
  it('refuses a second daemon on the run directory and names the first', async () => {
    const runDir = directory('run')
    await acquire({ runDir, stateDir: directory('state') })
    const error = await refusal(acquire({ runDir, stateDir: directory('state') }))
    expect(error.code).toBe('daemon-running')
    expect(error.message).toContain(`pid ${process.pid}`)
  })

  it('refuses a second daemon on the state directory, and leaves its run directory free', async () => {
    const stateDir = directory('state')
    await acquire({ runDir: directory('run'), stateDir })
    const runDir = directory('run')
    const error = await refusal(acquire({ runDir, stateDir }))
    expect(error.code).toBe('state-in-use')
    await acquire({ runDir, stateDir: directory('state') })
  })

  it('gives the directories to the next one after release', async () => {
    const dirs = { runDir: directory('run'), stateDir: directory('state') }
    await (await acquireLock(dirs)).release()
    await acquire(dirs)
  })

  it('gives the lock to exactly one of many that ask at once', async () => {
    const dirs = { runDir: directory('run'), stateDir: directory('state') }
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => acquire(dirs)))
    expect(outcomes.filter(outcome => outcome.status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'daemon-running' })
    }
  })

  it('is free again after its holder was killed', async () => {
    const runDir = directory('run')
    const stateDir = directory('state')
    // Another process holds the lock the way the daemon does: flock(2) on the file, its pid inside.
    const holder: ChildProcess = spawn(
      'flock',
      [join(runDir, 'portctl.lock'), 'sh', '-c', 'echo locked; exec cat'],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
        detached: true,
      },
    )
    try {
      await once(holder.stdout as NodeJS.ReadableStream, 'data')
      writeFileSync(join(runDir, 'portctl.lock'), `${holder.pid}\n`)
      const error = await refusal(acquire({ runDir, stateDir }))
      expect(error.message).toContain(`pid ${holder.pid}`)
    } finally {
      // The group: flock(1) and the command that inherited its lock.
      process.kill(-(holder.pid as number), 'SIGKILL')
      await once(holder.stdout as NodeJS.ReadableStream, 'close')
    }
    await acquire({ runDir, stateDir })
  })

  it('says which file it cannot open', async () => {
    const error = await refusal(acquire({ runDir: join(base, 'absent'), stateDir: directory('state') }))
    expect(error).toMatchObject({ code: 'state-unreadable', details: { why: 'no such file or directory' } })
  })
})
