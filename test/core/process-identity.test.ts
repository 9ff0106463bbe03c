import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildSync } from 'esbuild'
import { expect, it } from 'vitest'
import { identityOf, isRunning } from '../../src/core/process-identity.ts'

it('a running process is itself, and none without', () => {
  const identity = identityOf(process.pid) as string
  expect(identity).toMatch(/^[0-9a-f-]{36}:\d+$/)
  expect(isRunning({ pid: process.pid, identity })).toBe(true)
  expect(isRunning({ pid: process.pid, identity: identity.replace(/^./, 'x') })).toBe(false)
  expect(identityOf(2 ** 22)).toBeNull()
})

/** In a pid namespace of its own, where a pid can be given out again: sysctl/kernel.rst, ns_last_pid. */
const PROGRAM = `
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { identityOf, isRunning } from './src/core/process-identity.ts'
const start = async () => {
  const child = spawn('sleep', ['60'])
  await once(child, 'spawn')
  return child
}
const first = await start()
const ref = { pid: first.pid, identity: identityOf(first.pid) }
const before = isRunning(ref)
first.kill('SIGKILL')
await once(first, 'exit')
const between = isRunning(ref)
// Start times are counted in ticks of 10 ms: the second has to begin in a later one.
const ticks = () => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 100
while (ticks() < Number(ref.identity.split(':')[1]) + 2) await new Promise(resolve => setTimeout(resolve, 5))
// Threads take numbers too.
let second
do {
  second?.kill('SIGKILL')
  writeFileSync('/proc/sys/kernel/ns_last_pid', String(ref.pid - 1))
  second = await start()
} while (second.pid !== ref.pid)
console.log(JSON.stringify([before, between, identityOf(second.pid) !== null, isRunning(ref)]))
second.kill('SIGKILL')
`

it('another process with the same pid is not', () => {
  const dir = mkdtempSync(join(tmpdir(), 'portctl-pid-'))
  try {
    const file = join(dir, 'program.mjs')
    const { outputFiles } = buildSync({
      stdin: { contents: PROGRAM, resolveDir: join(import.meta.dirname, '../..') },
      bundle: true,
      platform: 'node',
      format: 'esm',
      write: false,
    })
    writeFileSync(file, outputFiles[0]?.text ?? '')
    const unshare = ['--pid', '--fork', '--mount-proc', '--kill-child', process.execPath, file]
    const out = execFileSync('unshare', unshare, { encoding: 'utf8', timeout: 20_000 })
    expect(JSON.parse(out)).toEqual([true, false, true, false])
  } finally {
    rmSync(dir, { recursive: true })
  }
})
