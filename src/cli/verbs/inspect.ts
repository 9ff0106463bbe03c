import { formatJson } from '../output.ts'
import { verb } from '../verb.ts'

export const inspect = verb({
  name: 'inspect',
  summary: 'everything about a container or publication, as JSON',
  operands: [{ name: 'NAME|ID' }],
  flags: {},
  printsData: true,
  examples: [{ command: 'portctl inspect web', what: 'by name; an id or its beginning does too' }],
  async run(env, [ref = '']) {
    env.print(formatJson(await (await env.daemon()).inspect(ref)))
  },
})
