import { PortctlError } from '../../core/errors.ts'
import { forEachName } from '../each.ts'
import { verb } from '../verb.ts'

export const stop = verb({
  name: 'stop',
  summary: 'stop containers: SIGTERM, then SIGKILL',
  operands: [{ name: 'NAME', many: true }],
  flags: { time: { short: 't', value: 'SECS', summary: 'seconds between the two signals (default 10)' } },
  printsData: true,
  examples: [{ command: 'portctl stop -t 2 web', what: 'two seconds to end by itself' }],
  async run(env, names, { time }) {
    const request = time === undefined ? {} : { timeoutSeconds: parseSeconds(time) }
    const daemon = await env.daemon()
    await forEachName(env, names, name => daemon.stop(name, request))
  },
})

const parseSeconds = (text: string): number => {
  const seconds = Number(text)
  if (!/^\d+(\.\d+)?$/.test(text) || seconds > 86_400)
    throw PortctlError.of('usage', {
      what: `--time '${text}': not a number of seconds up to a day`,
      verb: 'stop',
    })
  return seconds
}
