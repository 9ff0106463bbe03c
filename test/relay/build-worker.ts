/** Builds the data-path thread's program from the sources, for tests that run the splice engine in their process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

/** Within the package, so that the program finds koffi. Removed when the process ends. */
export const buildWorker = async (): Promise<string> => {
  const directory = mkdtempSync(new URL('../../node_modules/.portctl-test-', import.meta.url).pathname)
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  const outfile = join(directory, 'relay-worker.cjs')
  await build({
    entryPoints: [new URL('../../src/relay/splice/worker.ts', import.meta.url).pathname],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    external: ['koffi'],
    logLevel: 'error',
  })
  return outfile
}
