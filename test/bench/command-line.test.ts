/** The command line of the bench: what it knows, what it refuses. Nothing here is measured. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const directory = mkdtempSync(join(tmpdir(), 'portctl-bench-test-'))
const program = join(directory, 'main.cjs')

beforeAll(async () => {
  await build({
    entryPoints: [join(ROOT, 'bench/main.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['koffi'],
    logLevel: 'warning',
  })
})
afterAll(() => rmSync(directory, { recursive: true }))

const bench = (...args: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ROOT, directory, ...args], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

test.each([
  [['nosuch', 'udp'], "bench: no case 'nosuch'; there are: tcp-keepalive tcp http"],
  [['--rounds', '0'], "bench: --rounds '0': not a number from 1 to 9999\n"],
  [['--seconds', 'two'], "bench: --seconds 'two': not a number from 1 to 9999\n"],
  [['--against', directory], `bench: --against '${directory}': no portctl that is built there`],
  [['guard', 'tcp'], "bench: 'guard' stands alone\n"],
  [['--fast'], "bench: Unknown option '--fast'\n"],
] as const)('%j is refused in one line', (args, line) => {
  const { status, stdout, stderr } = bench(...args)
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
  expect(stderr.slice(0, line.length)).toBe(line)
  expect(stderr.trimEnd()).not.toContain('\n')
})

test('every command that the pages name selects something', () => {
  const { status, stdout } = bench('list')
  expect(status).toBe(0)
  const known = stdout
    .trimEnd()
    .split('\n')
    .flatMap(line => [line.split(' ')[0], ...(/\[(?!only )(.*)\]$/.exec(line)?.[1] ?? '').split(' ')])
  const commands = ['README.md', 'docs/PERFORMANCE.md', 'bench/results/latest.md'].flatMap(page =>
    [...readFileSync(join(ROOT, page), 'utf8').matchAll(/npm run bench -- ([^`\n#]*)/g)].map(
      ([, args]) => args as string,
    ),
  )
  expect(commands.length).toBeGreaterThan(20)
  for (const command of commands) {
    const words = command
      .replace(/--\w+ ('[^']*'|\S+)/g, '')
      .trim()
      .split(/\s+/)
    expect([...known, 'guard']).toEqual(expect.arrayContaining(words))
  }
})
