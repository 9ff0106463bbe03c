import { PortctlError } from '../../core/errors.ts'
import { formatJson } from '../output.ts'
import { verb } from '../verb.ts'
import { VERSION } from '../version.ts'

export const version = verb({
  name: 'version',
  summary: "this command's version, and the daemon's when one answers",
  operands: [],
  flags: {},
  printsData: true,
  examples: [{ command: 'portctl version', what: 'never starts a daemon' }],
  async run(env) {
    const daemon = await env
      .runningDaemon()
      .status()
      .catch((error: unknown) => {
        if (error instanceof PortctlError && error.code === 'daemon-unreachable') return null
        throw error
      })
    if (env.json) return void env.print(formatJson({ version: VERSION, daemon: daemon?.version ?? null }))
    env.print(`portctl ${VERSION}`)
    if (daemon !== null && !env.quiet) env.print(`daemon ${daemon.version} (pid ${daemon.pid})`)
  },
})
