import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const run = promisify(execFile)
let dir: string
let program: string
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'portctl-log-'))
  program = join(dir, 'program.cjs')
  const contents = `
    import { createLogger } from './src/daemon/logging.ts'
    createLogger('info').then(log => { log.debug('quiet'); log.info({ port: 80 }, 'hello') })`
  await build({
    stdin: { contents, resolveDir: join(import.meta.dirname, '../..'), loader: 'ts' },
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    minify: true,
  })
})
afterAll(() => rmSync(dir, { recursive: true }))

describe('the log', () => {
  it('is JSON lines on stderr', async () => {
    const { stdout, stderr } = await run(process.execPath, [program])
    expect(stdout).toBe('')
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(JSON.parse(stderr)).toMatchObject({ level: 'info', msg: 'hello', port: 80 })
  })

  it('is readable on a terminal, without colours when they are not wanted', async () => {
    // script(1) gives the command a terminal.
    const command = `${process.execPath} ${program}`
    const { stdout } = await run('script', ['-qec', command, '/dev/null'], {
      env: { ...process.env, NO_COLOR: '1' },
    })
    expect(stdout).toMatch(/INFO.*: hello/)
    expect(stdout).toMatch(/port: 80/)
    expect(stdout).not.toContain('\x1b[')
    expect(stdout).not.toContain('{"level"')
  })
})
