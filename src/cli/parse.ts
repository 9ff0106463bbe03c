/** From the verbs' tables to a commander program. The only file that knows the parser's library. */
import { Command, CommanderError, Option } from 'commander'
import { PortctlError } from '../core/errors.ts'
import type { Env, EnvOptions } from './env.ts'
import { type FlagTable, GLOBAL_FLAGS, synopsis, type Verb } from './verb.ts'
import { GROUPS } from './verbs/index.ts'
import { VERSION } from './version.ts'

/** What the command line asks for: to run a verb, or nothing more (help and version were printed). */
export type Parsed = ((createEnv: (options: EnvOptions) => Env) => Promise<number>) | null

export interface Writers {
  readonly out: (text: string) => void
}

/** @throws `usage` */
export const parseCommandLine = async (args: readonly string[], writers: Writers): Promise<Parsed> => {
  let chosen: Parsed = null
  const program = buildProgram((verb, operands, values) => {
    const { json = false, quiet = false, ...flags } = values
    chosen = async createEnv =>
      (await verb.run(createEnv({ json: json === true, quiet: quiet === true }), operands, flags as never)) ??
      0
  }, writers)
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return null
    throw PortctlError.of('usage', usageOf(error, args), { cause: error })
  }
  return chosen
}

type Choose = (verb: Verb, operands: readonly string[], values: Readonly<Record<string, unknown>>) => void

export const buildProgram = (choose: Choose, writers: Writers): Command => {
  const program = new Command('portctl')
    .description('Publishes ports and wires networks for containers and processes.')
    .usage('COMMAND [flags] …')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .addHelpCommand(
      new Command('help').usage('[COMMAND]').summary('print the help of a command').helpGroup('The tool:'),
    )
    // The list of commands has no room for `[flags]` in every row.
    .configureHelp({
      subcommandTerm: command => `${command.name()} ${command.usage().replace('[flags]', '').trim()}`,
    })
    .exitOverride()
    // What commander would print about an error is thrown, and printed where every error is.
    .configureOutput({ writeOut: writers.out, outputError: () => undefined, writeErr: () => undefined })
    // A verb's own flags may then have the names of the global ones, and a command after them is left alone.
    .enablePositionalOptions()
  addFlags(program, GLOBAL_FLAGS)
  program.addHelpText('after', PROGRAM_EPILOGUE)
  for (const { heading, verbs } of GROUPS) {
    program.commandsGroup(`${heading}:`)
    for (const verb of verbs) addVerb(program, verb, choose)
  }
  return program
}

const PROGRAM_EPILOGUE = `
Environment:
  PORTCTL_RUN_DIR    directory of the daemon's socket; chooses an instance (default /run/portctl)
  PORTCTL_STATE_DIR  directory of the daemon's state (default /var/lib/portctl)
  NO_COLOR           no escape sequences in the output

Exit status: 0 done; 1 it failed; 2 the command line is wrong.`

const addVerb = (program: Command, verb: Verb, choose: Choose): void => {
  const command = program
    .command(verb.name)
    .summary(verb.summary)
    .description(descriptionOf(verb))
    .usage(`[flags] ${synopsis(verb)}`.trim())
    .helpOption('-h, --help', 'print help')
  for (const { name, optional, many } of verb.operands) {
    const pattern = many ? `${name}...` : name
    command.argument(optional ? `[${pattern}]` : `<${pattern}>`)
  }
  if (verb.takesCommand) command.passThroughOptions()
  addFlags(command, verb.flags)
  addFlags(command, globalFlagsOf(verb))
  command.addHelpText('after', examplesOf(verb))
  command.action(() => {
    const operands = verb.takesCommand ? withoutSeparator(command.args, verb) : command.args
    choose(verb, operands, { ...absentValues(verb.flags), ...program.opts(), ...command.opts() })
  })
}

/** The rows of GLOBAL_FLAGS that the verb takes. */
export const globalFlagsOf = (verb: Verb): FlagTable =>
  verb.printsData ? GLOBAL_FLAGS : { quiet: GLOBAL_FLAGS.quiet }

const descriptionOf = ({ summary, description = [] }: Verb): string =>
  [`${summary[0]?.toUpperCase()}${summary.slice(1)}.`, ...description].join('\n\n')

const addFlags = (command: Command, flags: FlagTable): void => {
  for (const [name, flag] of Object.entries(flags)) {
    const { short, value, choices, repeat, summary } = flag
    const option = new Option(
      `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}`,
      summary,
    )
    if (choices !== undefined) option.choices(choices)
    if (repeat) option.argParser((text, before: readonly string[] = []) => [...before, text])
    command.addOption(option)
  }
}

/** What a flag that was not given means. */
const absentValues = (flags: FlagTable): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(flags)
      .filter(([, flag]) => flag.repeat || flag.value === undefined)
      .map(([name, flag]) => [name, flag.repeat ? [] : false]),
  )

const examplesOf = ({ examples }: Verb): string =>
  ['', 'Examples:', ...examples.flatMap(({ command, what }) => [`  # ${what}`, `  ${command}`])].join('\n')

/** A `--` between the operands before a command and the command itself is no part of either. */
const withoutSeparator = (args: readonly string[], { name, operands }: Verb): readonly string[] => {
  const at = operands.length - 1
  if (args[at] !== '--') return args
  if (args.length === at + 1)
    throw PortctlError.of('usage', { what: `missing required argument '${operands[at]?.name}'`, verb: name })
  return [...args.slice(0, at), ...args.slice(at + 1)]
}

const usageOf = (error: CommanderError, args: readonly string[]): { what: string; verb?: string } => {
  if (error.code === 'commander.help') return { what: 'no command given' }
  const what = error.message.replace(/^error: /, '').replaceAll('\n', ' ')
  const verb = GROUPS.flatMap(group => group.verbs).find(v => args.includes(v.name))
  return verb === undefined || error.code === 'commander.unknownCommand'
    ? { what }
    : { what, verb: verb.name }
}
