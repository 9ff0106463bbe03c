import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStore } from '../../src/daemon/store.ts'

let base: string
let program: string
beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'portctl-store-'))
  program = join(base, 'program.cjs')
  await build({
    entryPoints: [join(import.meta.dirname, 'store-program.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
  })
})
afterAll(() => rmSync(base, { recursive: true }))

describe('a file system without space', () => {
  it('costs the commit that finds it full, and nothing else', async () => {
    const dir = join(base, 'small')
    mkdirSync(dir)
    // The file system is in a mount namespace of its own and goes with its last process.
    const script = 'mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" "$3" fill "$1"'
    const { stdout } = await promisify(execFile)('unshare', [
      '--mount',
      'sh',
      '-c',
      script,
      'sh',
      dir,
      process.execPath,
      program,
    ])
    const report = JSON.parse(stdout) as Record<'acknowledged' | 'afterFailure' | 'reopened', number> & {
      atEnd: string[]
      error: unknown
    }
    expect(report.acknowledged).toBeGreaterThan(3)
    expect(report.afterFailure).toBe(report.acknowledged)
    expect(report.reopened).toBe(report.acknowledged)
    expect(report.atEnd).toEqual([...Array.from({ length: report.acknowledged }, (_, n) => `${n}`), 'after'])
    expect(report.error).toMatchObject({
      code: 'state-write-failed',
      http: 507,
      message: expect.stringContaining('no space left on device'),
    })
  })
})

describe('SIGKILL in the middle of commits', () => {
  it('loses none that was acknowledged', async () => {
    const dir = join(base, 'killed')
    mkdirSync(dir)
    let acknowledged = 0
    for (let round = 0; round < 5; round++) {
      const child = spawn(process.execPath, [program, 'loop', dir], { stdio: ['ignore', 'pipe', 'inherit'] })
      let lines = 0
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        lines += text.split('\n').length - 1
        if (lines > 10 * (round + 1)) child.kill('SIGKILL')
      })
      await once(child, 'close')
      acknowledged += lines
      const store = await openStore(dir)
      expect(store.state.meta.size).toBeGreaterThanOrEqual(acknowledged)
      acknowledged = store.state.meta.size
      await store.close()
    }
    expect(acknowledged).toBeGreaterThan(100)
  })
})
