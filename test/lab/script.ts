/** Runs TypeScript of ours inside a namespace: bundled, given to node, its result handed back as JSON. */

import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Lab, Where } from './lab.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** `source` imports from './src/…' and calls the global `answer(value)` once. @param within a command that runs node, `unshare …` */
export const runScript = async <T>(
  lab: Lab,
  where: Where,
  source: string,
  within: readonly string[] = [],
): Promise<T> => {
  const answer = 'const answer = value => process.stdout.write(JSON.stringify(value));'
  const { outputFiles } = await build({
    stdin: { contents: `${answer}\n${source}`, resolveDir: ROOT, loader: 'ts' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['koffi'],
    write: false,
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire('/');" },
  })
  const program = outputFiles[0]?.text ?? ''
  const [command = '', ...args] = [...within, process.execPath, '--input-type=module', '-']
  const { exitCode, stdout, stderr } = await lab.exec(where, command, args, { input: program })
  if (exitCode !== 0) throw new Error(`the script ended with status ${exitCode}: ${stderr}`)
  return JSON.parse(stdout) as T
}
