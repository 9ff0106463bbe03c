import { PortctlError } from '../../core/errors.ts'
import { formatJson, publicationLine } from '../output.ts'
import { verb } from '../verb.ts'

export const unpublish = verb({
  name: 'unpublish',
  summary: 'take publications back, at once',
  description: [
    'By id (a unique beginning is enough), by name, or by the host side of the SPEC that was published: 8080, 127.0.0.1:8080:80/udp.',
  ],
  operands: [{ name: 'REF', optional: true, many: true }],
  flags: { all: { summary: 'every publication' } },
  printsData: true,
  examples: [
    { command: 'portctl unpublish 8080:80', what: 'what was published so' },
    { command: 'portctl unpublish 3f9c dns', what: 'by the beginning of an id, and by name' },
    { command: 'portctl unpublish --all', what: 'everything' },
  ],
  async run(env, refs, { all }) {
    const usage = (what: string) => PortctlError.of('usage', { what, verb: 'unpublish' })
    if (all && refs.length > 0) throw usage('--all takes no REF')
    if (!all && refs.length === 0) throw usage('which publication? give an id, a name, a SPEC, or --all')
    const { publications } = await (await env.daemon()).unpublish(all ? { all } : { refs })
    if (env.json) env.print(formatJson(publications))
    else for (const p of publications) env.print(env.quiet ? p.id : `unpublished ${publicationLine(p)}`)
  },
})
