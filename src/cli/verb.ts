/**
 * What a verb is: an object literal that names it, describes its command line as data and runs it. The parser, the
 * help, docs/CLI.md and the type of what `run` gets all follow from the tables.
 */
import type { Env } from './env.ts'

/** A flag of the command line. Without `value` it is a switch. */
export interface Flag {
  /** One letter. */
  readonly short?: string
  /** Placeholder of the value in the help. */
  readonly value?: string
  readonly choices?: readonly string[]
  /** May be given several times. */
  readonly repeat?: true
  readonly summary: string
}

/** Keyed by long name. */
export type FlagTable = Readonly<Record<string, Flag>>

type FlagValue<F extends Flag> = F extends { readonly repeat: true }
  ? readonly string[]
  : F extends { readonly choices: readonly (infer Choice)[] }
    ? Choice | undefined
    : F extends { readonly value: string }
      ? string | undefined
      : boolean

type FlagValues<T extends FlagTable> = { readonly [K in keyof T]: FlagValue<T[K]> }

interface Operand {
  /** Placeholder in the help. */
  readonly name: string
  readonly optional?: true
  /** The last operand may stand for several. */
  readonly many?: true
}

interface Example {
  readonly command: string
  readonly what: string
}

export interface Verb<T extends FlagTable = FlagTable> {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** Paragraphs for the help of the command, where the summary is not enough. */
  readonly description?: readonly string[]
  readonly operands: readonly Operand[]
  /** The last operand is a command: everything from its first word on belongs to it, whatever it looks like. */
  readonly takesCommand?: true
  readonly flags: T
  /** Prints data, so it has --json. */
  readonly printsData: boolean
  readonly examples: readonly Example[]
  /** The exit status; 0 when none is given. `operands` are as many as the table allows. */
  run(env: Env, operands: readonly string[], flags: FlagValues<T>): Promise<number | undefined>
}

/** Of every command; --json only where data is printed. */
export const GLOBAL_FLAGS = {
  json: { summary: 'print data as JSON' },
  quiet: { short: 'q', summary: 'print ids or names only, and no notes' },
} as const satisfies FlagTable

/** Infers a verb's flag types from its table. */
export const verb = <const T extends FlagTable>(definition: Verb<T>): Verb<T> => definition

/** What follows the flags: `SPEC...`, `CONTAINER [PORT[/PROTO]]`, `NAME -- CMD...`. */
export const synopsis = ({ operands, takesCommand }: Verb): string =>
  operands
    .map(({ name, optional, many }, i) => {
      const text = optional ? `[${name}${many ? '...' : ''}]` : `${name}${many ? '...' : ''}`
      return takesCommand && i === operands.length - 1 ? `-- ${text}` : text
    })
    .join(' ')
