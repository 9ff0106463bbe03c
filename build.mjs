// Bundles each program into one CommonJS file under dist/: one file is what makes start-up fast (docs/ARCHITECTURE.md, "Programs").
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { build } from 'esbuild'

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'))

const { outputFiles } = await build({
  entryPoints: {
    portctl: 'src/cli/main.ts',
    daemon: 'src/daemon/main.ts',
    relay: 'src/relay/main.ts',
    'relay-worker': 'src/relay/splice/worker.ts',
  },
  outdir: 'dist',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  // koffi has a binary. The compilers are fastify's, which are never loaded (daemon/api-server.ts): a fifth of its bundle.
  external: ['koffi', '@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler'],
  minify: true,
  keepNames: false,
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  define: { 'process.env.PORTCTL_VERSION': JSON.stringify(version) },
  logLevel: 'warning',
  write: false,
})

// By rename, so that a program that starts meanwhile finds the old file or the new one, whole.
mkdirSync('dist', { recursive: true })
for (const { path, contents } of outputFiles) {
  const file = `dist/${basename(path)}`
  writeFileSync(`${file}.${process.pid}`, contents)
  renameSync(`${file}.${process.pid}`, file)
}
