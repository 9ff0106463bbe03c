// `npm run bench`: builds portctl and the bench (Node 20 runs no TypeScript), then runs it in network, pid, and mount
// namespaces of its own. When it ends, however it ends, the kernel takes every process, namespace and mount with it; the
// one thing left, the work directory (on a real disk: the store's fsync is part of what is measured), is removed here.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = join(root, 'node_modules/.cache/portctl-bench')

const built = spawnSync(process.execPath, ['build.mjs'], { cwd: root, stdio: 'inherit' })
if (built.status !== 0) process.exit(1)
await build({
  entryPoints: {
    main: 'bench/main.ts',
    agent: 'bench/agent/main.ts',
    'udp-load': 'bench/udp-load.ts',
    'core-latency-worker': 'bench/lab/core-latency-worker.ts',
  },
  absWorkingDir: root,
  outdir: out,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  external: ['koffi'],
  logLevel: 'warning',
})

const work = mkdtempSync(join(tmpdir(), 'portctl-bench-'))
const elevate = process.getuid() === 0 ? [] : ['sudo', 'env', `PATH=${process.env.PATH}`]
// bash is pid 1 of the new pid namespace: it reaps what daemons leave behind, node would not.
const inner = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && node "$@"; exit $?'
const command = [
  ...elevate,
  ...['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'],
  ...['bash', '-c', inner, 'bench', join(out, 'main.cjs'), root, work, ...process.argv.slice(2)],
]
const lab = spawn(command[0], command.slice(1), { stdio: 'inherit' })
// unshare --kill-child: when it goes, its pid namespace goes.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => lab.kill('SIGKILL'))
const [status] = await once(lab, 'exit')
rmSync(work, { recursive: true, force: true })
process.exitCode = status ?? 1
