import { constants } from 'node:os'
import type { ApiClient } from '../../api/client.ts'
import type { RunResponse } from '../../api/views.ts'
import { PortctlError } from '../../core/errors.ts'
import { findExecutable } from '../../core/executable.ts'
import type { Env } from '../env.ts'
import { formatJson, publicationLine } from '../output.ts'
import { verb } from '../verb.ts'

export const run = verb({
  name: 'run',
  summary: 'run a command in a new network namespace of its own',
  description: [
    "Network isolation only: the command sees the files and processes of this host. In the foreground, stdin, stdout, signals and the exit status are the command's own (128 + n after signal n, 127 not found, 126 not executable).",
  ],
  operands: [{ name: 'CMD', many: true }],
  takesCommand: true,
  flags: {
    name: { value: 'NAME', summary: 'name of the container (default: one is made up)' },
    network: { value: 'NET', summary: 'network to be on (default bridge)' },
    ip: { value: 'ADDRESS', summary: 'address on that network (default: a free one)' },
    publish: { short: 'p', value: 'SPEC', repeat: true, summary: 'publish a port, see portctl publish' },
    detach: { short: 'd', summary: 'run in the background' },
    rm: { summary: 'remove the container when the command ends' },
  },
  printsData: true,
  examples: [
    { command: 'portctl run --rm -- ip address', what: 'what a container looks like from inside' },
    {
      command: 'portctl run -d --name web -p 8080:80 -- nginx -g "daemon off;"',
      what: 'a server, published',
    },
  ],
  async run(env, command, { name, network, ip, publish, detach, rm }) {
    findExecutable(command[0] as string, env.variables.PATH, env.cwd)
    const daemon = await env.daemon()
    let signal: NodeJS.Signals | undefined
    if (!detach) void env.interrupted().then(first => (signal = first))
    const answer = await daemon.run({
      ...(name === undefined ? {} : { name }),
      ...(network === undefined ? {} : { network }),
      ...(ip === undefined ? {} : { ip }),
      publish,
      command,
      detach,
      autoRemove: rm,
      ...(detach ? { env: definedOnly(env.variables), cwd: env.cwd } : {}),
    })
    for (const note of answer.notes) env.note(note)
    if (signal !== undefined) {
      await daemon.remove(answer.container.name, true)
      return 128 + constants.signals[signal]
    }
    if (!detach) return await foreground(env, daemon, answer, command)
    if (env.json) env.print(formatJson({ ...answer.container, publications: answer.publications }))
    else if (env.quiet) env.print(answer.container.name)
    else {
      env.print(answer.container.name)
      for (const p of answer.publications) env.note(publicationLine(p))
    }
    return 0
  },
})

/** Stdout is the command's, so the publications are told on stderr. */
const foreground = async (
  env: Env,
  daemon: ApiClient,
  { container, publications }: RunResponse,
  command: readonly string[],
): Promise<number> => {
  for (const p of publications) env.note(publicationLine(p))
  const { name } = container
  let status: number
  try {
    status = await env.launch({ container, command, onStarted: pid => daemon.started(name, { pid }) })
  } catch (error) {
    await daemon.remove(name, true).catch(() => undefined)
    throw error
  }
  await daemon.exited(name, { exitCode: status }).catch((error: unknown) => {
    // Removed meanwhile, by `rm -f` or because the daemon saw the end before it was told.
    if (error instanceof PortctlError && error.code === 'container-not-found') return
    // The command's status is what the caller waits for; the daemon finds the process gone by itself.
    env.note(`the daemon could not be told that '${name}' ended: ${(error as Error).message}`)
  })
  return status
}

const definedOnly = (variables: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(Object.entries(variables).filter((e): e is [string, string] => e[1] !== undefined))
