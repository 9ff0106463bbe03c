/** How a command that fails says so, and the one place that decides the exit status. */
import { asPortctlError, type PortctlError } from '../core/errors.ts'

const errorsIn = (thrown: unknown): readonly PortctlError[] =>
  thrown instanceof AggregateError ? thrown.errors.map(asPortctlError) : [asPortctlError(thrown)]

/** The largest of several: a wrong command line (2) outweighs a failure (1). */
export const exitStatus = (thrown: unknown): number => Math.max(...errorsIn(thrown).map(error => error.exit))

/** `portctl: MESSAGE [code]`, and a line that says what to do where there is one. */
export const describeFailure = (thrown: unknown, coloured: boolean): string =>
  errorsIn(thrown)
    .flatMap(error => {
      const name = coloured ? '\x1b[31mportctl:\x1b[39m' : 'portctl:'
      const first = `${name} ${printable(error.message)} [${error.code}]`
      return error.hint === undefined ? [first] : [first, printable(error.hint)]
    })
    .join('\n')

/** One line that cannot steer the terminal: messages quote what the user or another program wrote. */
const printable = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, char =>
    char === '\n' ? ' ' : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
