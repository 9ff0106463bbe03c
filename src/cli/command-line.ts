/** Everything after the fast path of main.ts: one command line from its arguments to its exit status. Never rejects. */
import { createEnv, showsColours } from './env.ts'
import { describeFailure, exitStatus } from './failure.ts'
import { parseCommandLine } from './parse.ts'

export const runCommandLine = async (args: readonly string[]): Promise<number> => {
  endWithReader(process.stdout)
  try {
    const runVerb = await parseCommandLine(args, { out: text => process.stdout.write(text) })
    return runVerb === null ? 0 : await runVerb(createEnv)
  } catch (error) {
    process.stderr.write(`${describeFailure(error, showsColours(2))}\n`)
    return exitStatus(error)
  }
}

/** `portctl ls | head -1`: when the reader has gone, so has the reason to go on. */
const endWithReader = (stream: NodeJS.WriteStream): void => {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit()
  })
}
