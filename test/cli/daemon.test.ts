import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { portctl } from './fake.ts'

const distDir = mkdtempSync(join(tmpdir(), 'portctl-dist-'))
afterAll(() => rmSync(distDir, { recursive: true }))

/** A bundle whose error is, as the real one's, of another class than the command line's. */
writeFileSync(
  join(distDir, 'daemon.cjs'),
  `exports.runDaemon = async options => {
    if (!options.keep) throw Object.assign(new Error(), {
      toJSON: () => ({ code: 'daemon-running', message: JSON.stringify(options), hint: 'stop it' })
    })
  }`,
)

it('runs the bundle beside it, with the directories of the instance', async () => {
  expect(await portctl(['daemon', '--keep'], { distDir })).toEqual({
    status: 0,
    stdout: '',
    stderr: '',
    calls: [],
  })
  const { status, stderr } = await portctl(['daemon', '--engine', 'node'], { distDir })
  expect(status).toBe(1)
  const [, options, rest] = /^portctl: (\{.*\}) (.*)$/s.exec(stderr) ?? []
  expect(JSON.parse(options ?? '')).toMatchObject({
    runDir: '/run/portctl',
    stateDir: '/var/lib/portctl',
    distDir,
    engine: 'node',
    keep: false,
  })
  expect(rest).toBe('[daemon-running]\nstop it\n')
})

it('passes a defect on as one', async () => {
  expect(await portctl(['daemon'], { distDir: '/nowhere' })).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('[internal]'),
  })
})
