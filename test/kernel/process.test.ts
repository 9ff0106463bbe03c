import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { execute, firstLine, inNetns, run } from '../../src/kernel/process.ts'
import { useLab } from '../lab/hooks.ts'
import { runScript } from '../lab/script.ts'

const lab = useLab()

test('stdin can be opened by name, read again from its start, and is larger than a pipe', async () => {
  const input = 'ü'.repeat(500_000)
  const script = `const fs = require('node:fs')
    console.log(fs.readFileSync(0, 'utf8').length, fs.readFileSync('/dev/stdin', 'utf8').length)`
  expect((await run(process.execPath, ['-e', script], { input })).stdout).toBe('500000 500000\n')
})

test('without input stdin is at its end', async () => {
  expect((await run('cat', [])).stdout).toBe('')
})

test('leaves no descriptor open', async () => {
  await run('cat', [], { input: 'x' })
  const open = () => readdirSync('/proc/self/fd').length
  const before = open()
  for (let i = 0; i < 10; i++) await run('cat', [], { input: 'x' })
  expect(open()).toBe(before)
})

test('a failure names the tool and the first line it wrote', async () => {
  const failing = run(process.execPath, ['-e', 'console.error("\\n  first \\nsecond"); process.exit(1)'])
  await expect(failing).rejects.toMatchObject({
    code: 'tool-failed',
    message: `'${process.execPath}' failed: first`,
  })
  await expect(run('false', [])).rejects.toMatchObject({ message: "'false' failed: exit status 1" })
})

test('a missing tool is told apart, here and in another namespace', async () => {
  const missing = { code: 'tool-missing', message: expect.stringContaining('no-such-tool') }
  await expect(execute('no-such-tool', [])).rejects.toMatchObject(missing)
  await expect(inNetns('/proc/self/ns/net')('no-such-tool', [])).rejects.toMatchObject(missing)
})

test('a NUL would cut an argument short, and is refused', async () => {
  await expect(execute('echo', ['a\0b'])).rejects.toMatchObject({
    message: "'echo' failed: it could not be started (EINVAL)",
  })
})

test('a tool that does not end is killed', async () => {
  await expect(execute('sleep', ['60'], { timeout: 50 })).rejects.toMatchObject({
    code: 'tool-failed',
    message: "'sleep' failed: it did not end in time",
  })
  const controller = new AbortController()
  const cancelled = execute('sleep', ['60'], { signal: controller.signal })
  controller.abort()
  await expect(cancelled).rejects.toMatchObject({ message: "'sleep' failed: it was cancelled" })
})

test('where koffi cannot be loaded tools are started all the same', async () => {
  const source = `import { loadLibc } from './src/kernel/libc/index.ts'
    import { execute } from './src/kernel/process.ts'
    const libc = await loadLibc().then(() => 'loaded', error => error.code)
    answer({ libc, ...(await execute('cat', [], { input: 'x' })) })`
  const found = await runScript(lab(), lab().host, source, ['env', '--chdir=/'])
  expect(found).toEqual({ libc: 'libc-unavailable', exitCode: 0, stdout: 'x', stderr: '' })
})

test.each([
  ['a\nb', 'a'],
  ['\n \n x \n', 'x'],
  ['', ''],
])('first line of %j', (text, line) => {
  expect(firstLine(text)).toBe(line)
})
