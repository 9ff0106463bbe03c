import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findExecutable } from '../../src/core/executable.ts'

const root = mkdtempSync(join(tmpdir(), 'portctl-path-'))
const [first, second] = [join(root, 'first'), join(root, 'second')]

const place = (file: string, mode: number): void => {
  writeFileSync(file, '')
  chmodSync(file, mode)
}

beforeAll(() => {
  for (const dir of [first, second, join(first, 'folder')]) mkdirSync(dir)
  place(join(first, 'blocked'), 0o644)
  place(join(first, 'shadowed'), 0o644)
  place(join(second, 'shadowed'), 0o755)
  place(join(second, 'tool'), 0o755)
})

afterAll(() => rmSync(root, { recursive: true }))

const path = `${first}:${second}`

it.each([
  ['tool', 'second/tool'],
  ['shadowed', 'second/shadowed'],
  ['./second/tool', 'second/tool'],
])('%s is %s', (command, file) => {
  expect(findExecutable(command, path, root)).toBe(join(root, file))
})

it.each([
  ['absent', 'command-not-found'],
  ['./absent', 'command-not-found'],
  ['', 'command-not-found'],
  ['blocked', 'command-not-executable'],
  ['folder', 'command-not-executable'],
  ['./first/blocked', 'command-not-executable'],
  ['./first/', 'command-not-executable'],
])('%j is refused: %s', (command, code) => {
  expect(() => findExecutable(command, path, root)).toThrow(expect.objectContaining({ code }))
})

it('has a default path', () => {
  expect(findExecutable('sh', undefined, '/')).toMatch(/\/bin\/sh$/)
})
