/** Bundles programs from the sources, for tests that run the splice engine in a process of theirs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build } from 'esbuild'

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

const bundle = async (name: string, entry: BuildOptions): Promise<string> => {
  // Within the package, so that the program finds koffi. Removed when the process ends.
  const directory = mkdtempSync(at('node_modules/.portctl-test-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  const outfile = join(directory, name)
  await build({
    ...entry,
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

/** The data-path thread's program. */
export const buildWorker = (): Promise<string> =>
  bundle('relay-worker.cjs', { entryPoints: [at('src/relay/splice/worker.ts')] })

/** A program of the test's own; it imports sources as `./src/…`. */
export const buildProgram = (contents: string): Promise<string> =>
  bundle('program.cjs', { stdin: { contents, resolveDir: at('.'), loader: 'ts' } })
