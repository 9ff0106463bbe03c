/** vitest's global set-up: the programs under test are built once; laboratories of killed workers are removed. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { sweep } from './lab.ts'

export const setup = (): (() => void) => {
  execFileSync(process.execPath, [fileURLToPath(new URL('../../build.mjs', import.meta.url))], {
    stdio: 'inherit',
  })
  return sweep
}
