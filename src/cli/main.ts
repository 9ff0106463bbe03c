/**
 * The command line: parse, run one verb, decide the exit status.
 *
 * Start-up time is a promise (docs/ARCHITECTURE.md), so what a command does not need is not loaded: `--version` is
 * answered before the parser is there, and libraries of the daemon's side never are.
 */
import { writeSync } from 'node:fs'
import { VERSION } from './version.ts'

const main = async (args: readonly string[]): Promise<number> => {
  if (args.length === 1 && (args[0] === '--version' || args[0] === '-V')) {
    writeSync(1, `${VERSION}\n`)
    return 0
  }
  const { runCommandLine } = await import('./command-line.ts')
  return await runCommandLine(args)
}

void main(process.argv.slice(2)).then(status => {
  // Not process.exit(): what was written to a pipe has to get there first.
  process.exitCode = status
})
