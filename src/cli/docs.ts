/** docs/CLI.md and docs/errors.md, made from the tables that the program itself runs on. `npm run docs` writes them. */
import { ERRORS } from '../core/errors.ts'
import { globalFlagsOf } from './parse.ts'
import { type Flag, type FlagTable, GLOBAL_FLAGS, synopsis, type Verb } from './verb.ts'
import { GROUPS } from './verbs/index.ts'

const MADE_BY = '<!-- Made by `npm run docs`; a test fails when it is stale. -->'

const sentence = (text: string): string => `${text[0]?.toUpperCase()}${text.slice(1)}.`

/** A table's cell: `|` would end it. */
const cell = (text: string): string => text.replaceAll('|', '\\|')

const flagName = (name: string, { short, value }: Flag): string =>
  `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`

const flagSummary = ({ summary, choices, repeat }: Flag): string =>
  [
    summary,
    ...(choices === undefined ? [] : [`one of ${choices.join(', ')}`]),
    ...(repeat ? ['repeatable'] : []),
  ].join('; ')

const flagTable = (flags: FlagTable): readonly string[] =>
  Object.keys(flags).length === 0
    ? []
    : [
        '| flag | |',
        '|---|---|',
        ...Object.entries(flags).map(
          ([name, flag]) => `| \`${flagName(name, flag)}\` | ${cell(flagSummary(flag))} |`,
        ),
        '',
      ]

const verbSection = (verb: Verb): readonly string[] => [
  `### portctl ${verb.name}`,
  '',
  '```',
  `portctl ${verb.name} [flags] ${synopsis(verb)}`.trimEnd(),
  '```',
  '',
  sentence(verb.summary),
  '',
  ...(verb.description ?? []).flatMap(paragraph => [paragraph, '']),
  ...flagTable({ ...verb.flags, ...globalFlagsOf(verb) }),
  '```sh',
  ...verb.examples.flatMap(({ command, what }) => [`# ${what}`, command]),
  '```',
  '',
]

export const cliPage = (): string =>
  [
    MADE_BY,
    '',
    '# Command line',
    '',
    'Data goes to stdout, everything else to stderr. `--json` and `--quiet` may also stand before the command.',
    '',
    ...flagTable(GLOBAL_FLAGS),
    '| variable | |',
    '|---|---|',
    "| `PORTCTL_RUN_DIR` | directory of the daemon's socket; chooses an instance (default `/run/portctl`) |",
    "| `PORTCTL_STATE_DIR` | directory of the daemon's state (default `/var/lib/portctl`) |",
    '| `NO_COLOR` | no escape sequences in the output |',
    '',
    'Exit status: 0 done; 1 it failed; 2 the command line is wrong. `run` in the foreground and `exec` pass the status of their',
    'command on: 128 + n after signal n, 127 when it is not found, 126 when it is not executable.',
    '',
    'An error is one line, `portctl: MESSAGE [code]`, and a second that says what to do, where there is one. The codes are in',
    '[errors.md](errors.md). A command that needs the daemon starts it in the background when none answers.',
    '',
    ...GROUPS.flatMap(({ heading, verbs }) => [`## ${heading}`, '', ...verbs.flatMap(verbSection)]),
  ].join('\n')

export const errorsPage = (): string =>
  [
    MADE_BY,
    '',
    '# Errors',
    '',
    'Each error has a code, the same on the command line (`portctl: MESSAGE [code]`) and in the API (`{code, message, hint}`).',
    '',
    '| code | exit | HTTP | meaning |',
    '|---|---|---|---|',
    ...Object.entries(ERRORS)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([code, { exit, http, meaning }]) => `| \`${code}\` | ${exit} | ${http} | ${cell(meaning)} |`),
    '',
  ].join('\n')
