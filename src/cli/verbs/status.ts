import { formatDuration, formatJson } from '../output.ts'
import { verb } from '../verb.ts'

export const status = verb({
  name: 'status',
  summary: 'the daemon, its relay and how much they serve',
  operands: [],
  flags: {},
  printsData: true,
  examples: [{ command: 'portctl status', what: 'which instance answers, and since when' }],
  async run(env) {
    const s = await (await env.daemon()).status()
    if (env.json) return void env.print(formatJson(s))
    const rows: readonly (readonly [string, string])[] = [
      ['version', s.version],
      ['daemon', `pid ${s.pid}, up ${formatDuration(s.uptimeSeconds)}`],
      ['relay', s.relayPid === null ? 'not running' : `pid ${s.relayPid}`],
      ['run directory', s.runDir],
      ['state directory', s.stateDir],
      ['publications', `${s.publications}`],
      ['containers', `${s.containers}`],
      ['networks', `${s.networks}`],
    ]
    for (const [name, value] of rows) env.print(`${name.padEnd(17)}${value}`)
  },
})
