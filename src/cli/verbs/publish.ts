import type { ApiClient } from '../../api/client.ts'
import { PortctlError } from '../../core/errors.ts'
import type { Env } from '../env.ts'
import { formatJson, publicationLine } from '../output.ts'
import { verb } from '../verb.ts'

export const publish = verb({
  name: 'publish',
  summary: 'publish ports of a container, process, namespace or address',
  description: [
    "SPEC is docker's: [[HOST-ADDRESS:][HOST-PORT]:]TARGET-PORT[/tcp|udp|sctp], each port also a range FIRST-LAST, or published=8080,target=80,protocol=udp,host_ip=127.0.0.1. Without a host address, every address of the host; without a host port, a free one is picked and printed.",
    "TARGET is a container's name, an address, pid:N or netns:NAME|PATH (the last two connect from inside that namespace to its loopback). Without --to, the only container there is; if there is none, 127.0.0.1 of this host.",
  ],
  operands: [{ name: 'SPEC', optional: true, many: true }],
  flags: {
    publish: { short: 'p', value: 'SPEC', repeat: true, summary: 'what to publish, as with docker run' },
    to: { value: 'TARGET', summary: 'where it leads to' },
    name: { value: 'NAME', summary: 'a name to take it back by' },
    via: {
      value: 'WAY',
      choices: ['auto', 'kernel', 'relay'],
      summary: 'the path packets take (default auto)',
    },
    foreground: { summary: 'stay, and take it back when this command ends' },
  },
  printsData: true,
  examples: [
    { command: 'portctl publish 8080:80', what: 'host port 8080 leads to port 80 of the only container' },
    { command: 'portctl publish 127.0.0.1:5432:5432 --to db', what: 'for this host only' },
    {
      command: 'portctl publish 53:53/udp 53:53 --to dns --name dns',
      what: 'two publications under one name',
    },
    {
      command: 'portctl publish 20000-20999:20000-20999/udp --to media',
      what: 'a thousand ports, one publication',
    },
    {
      command: 'portctl publish 8000:3000 --to pid:1234',
      what: 'a process that listens on its loopback only',
    },
  ],
  async run(env, operands, { publish: specs, to, name, via, foreground }) {
    const wanted = [...operands, ...specs]
    if (wanted.length === 0)
      throw PortctlError.of('usage', {
        what: 'what is to be published? give a SPEC such as 8080:80',
        verb: 'publish',
      })
    const daemon = await env.daemon()
    const { publications, notes } = await daemon.publish({
      specs: wanted,
      ...(to === undefined ? {} : { to }),
      ...(name === undefined ? {} : { name }),
      ...(via === undefined ? {} : { via }),
      ...(foreground ? { held: true } : {}),
    })
    const show = (): void => {
      for (const note of notes) env.note(note)
      if (env.json) env.print(formatJson(publications))
      else for (const p of publications) env.print(env.quiet ? p.id : publicationLine(p))
    }
    if (foreground)
      await hold(
        env,
        daemon,
        publications.map(p => p.id),
        show,
      )
    else show()
  },
})

/** Shown only once the daemon watches: who sees the line may rely on the publication going with this process. */
const hold = async (env: Env, daemon: ApiClient, ids: readonly string[], show: () => void): Promise<void> => {
  const interrupted = env.interrupted()
  const held = await daemon.hold(ids).catch(async error => {
    await daemon.unpublish({ refs: ids, missingOk: true }).catch(() => undefined)
    throw error
  })
  show()
  const end = await Promise.race([held.ended, interrupted])
  if (end === 'daemon-gone')
    throw PortctlError.of('daemon-gone', { what: 'publish --foreground', changes: true })
  // Taken back here rather than by hanging up, so that it is gone when this command is.
  await daemon.unpublish({ refs: ids, missingOk: true })
  held.release()
}
