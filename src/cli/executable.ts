/** Looks a command up as execvp(3) would, so that a mistyped one is refused before anything is made. */
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, resolve } from 'node:path'
import { PortctlError } from '../core/errors.ts'

type Finding = 'absent' | 'not-executable' | 'executable'

const examine = (file: string): Finding => {
  try {
    if (!statSync(file).isFile()) return 'not-executable'
  } catch {
    return 'absent'
  }
  try {
    accessSync(file, constants.X_OK)
    return 'executable'
  } catch {
    return 'not-executable'
  }
}

/** @throws `command-not-found`, `command-not-executable` */
export const checkExecutable = (command: string, path: string | undefined, cwd: string): void => {
  const files = command.includes('/')
    ? [resolve(cwd, command)]
    : (path ?? '/usr/bin:/bin').split(delimiter).map(dir => resolve(cwd, dir, command))
  let blocked: string | undefined
  for (const file of files) {
    const finding = examine(file)
    if (finding === 'executable') return
    // A directory of that name in PATH is no candidate; one that was named by its path is.
    if (finding === 'not-executable') blocked ??= file
  }
  throw blocked === undefined
    ? PortctlError.of('command-not-found', { command })
    : PortctlError.of('command-not-executable', { command, file: blocked })
}
