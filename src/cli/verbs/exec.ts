import { findExecutable } from '../../core/executable.ts'
import { verb } from '../verb.ts'

export const exec = verb({
  name: 'exec',
  summary: "run a command in a container's network namespace",
  description: ["stdin, stdout, signals and the exit status are the command's own, as with run."],
  operands: [{ name: 'NAME' }, { name: 'CMD', many: true }],
  takesCommand: true,
  flags: {},
  printsData: false,
  examples: [
    { command: 'portctl exec web -- ss -ltn', what: 'what listens inside' },
    { command: 'portctl exec web -- curl -s http://127.0.0.1/', what: 'from its own loopback' },
  ],
  async run(env, [name = '', ...command]) {
    findExecutable(command[0] as string, env.variables.PATH, env.cwd)
    const container = await (await env.daemon()).container(name)
    return await env.launch({ container, command })
  },
})
