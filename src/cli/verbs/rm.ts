import { forEachName } from '../each.ts'
import { verb } from '../verb.ts'

export const rm = verb({
  name: 'rm',
  summary: 'remove containers, with their publications',
  operands: [{ name: 'NAME', many: true }],
  flags: { force: { short: 'f', summary: 'kill a running command first' } },
  printsData: true,
  examples: [{ command: 'portctl rm -f web', what: 'running or not' }],
  async run(env, names, { force }) {
    const daemon = await env.daemon()
    await forEachName(env, names, name => daemon.remove(name, force))
  },
})
