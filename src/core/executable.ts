/** Looks a command up as execvp(3) would, so that a mistyped one is refused before anything is made for it. */
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, resolve } from 'node:path'
import { PortctlError } from './errors.ts'

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

/**
 * The file of a command: itself when it has a slash, else the first executable one in `path`.
 * @throws `command-not-found`, `command-not-executable`
 */
export const findExecutable = (command: string, path: string | undefined, cwd: string): string => {
  const files = command.includes('/')
    ? [resolve(cwd, command)]
    : (path ?? DEFAULT_PATH).split(delimiter).map(dir => resolve(cwd, dir, command))
  const found = command === '' ? undefined : files.find(isExecutable)
  if (found !== undefined) return found
  const blocked = command === '' ? undefined : files.find(file => statSync(file, { throwIfNoEntry: false }))
  throw blocked === undefined
    ? PortctlError.of('command-not-found', { command })
    : PortctlError.of('command-not-executable', { command, file: blocked })
}
