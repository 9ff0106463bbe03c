/** What the tests of failures share: a command that must fail in one clear line, and everything it must not change. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type ApiClient, connect } from '../../src/api/client.ts'
import { ERRORS, type ErrorCode } from '../../src/core/errors.ts'
import type { ExecOptions, Lab } from '../lab/lab.ts'
import type { Instance } from '../lab/portctl.ts'
import { fingerprint } from './fingerprint.ts'

export interface Failure {
  readonly code: ErrorCode
  /** What the line must say: the culprit's names. */
  readonly says: RegExp
  /** What to do; absent: there must be no second line. */
  readonly hint?: RegExp
}

const STARTING = /^starting the portctl daemon in the background .*\n/

/** One line `portctl: MESSAGE [code]`, at most one more that says what to do, nothing on stdout, the code's exit status. */
export const expectFailure = (
  {
    exitCode,
    stdout,
    stderr,
  }: { readonly exitCode: number; readonly stdout: string; readonly stderr: string },
  { code, says, hint }: Failure,
): void => {
  const [line = '', second, ...rest] = stderr.replace(STARTING, '').trimEnd().split('\n')
  expect(line).toMatch(/^portctl: .+ \[[a-z-]+\]$/)
  expect(line.slice(line.lastIndexOf('['))).toBe(`[${code}]`)
  expect(line).toMatch(says)
  if (hint === undefined) expect(second).toBeUndefined()
  else expect(second).toMatch(hint)
  expect(rest).toEqual([])
  expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: ERRORS[code].exit })
}

/** For what is not the command under test: a request costs a fraction of a command. */
export const apiOf = ({ runDir }: Instance): ApiClient => connect({ runDir })

/** Directories alone, such as the one for the containers' files, are not counted, nor the log. */
const filesIn = (directory: string): readonly string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(entry => !entry.isDirectory() && entry.name !== 'daemon.log')
    .map(entry => join(entry.parentPath, entry.name))
    .sort()

/** All that portctl could leave behind in the kernel and on disk, and what the daemon says there is; counters left out. */
export const picture = async (lab: Lab, portctl: Instance) => {
  const client = apiOf(portctl)
  const [kernel, publications, containers] = await Promise.all([
    fingerprint(lab, portctl.where),
    client.listPublications(),
    client.listContainers(),
  ])
  return {
    ...kernel,
    publications: publications.map(({ connections: _, bytes: __, ...rest }) => rest),
    containers,
    namespaces: readdirSync('/run/netns').filter(name => name.startsWith(lab.prefix)),
    files: [portctl.runDir, portctl.stateDir].flatMap(filesIn),
  }
}

/** What `act` does must leave everything as it was. */
export const unchanged = async <T>(lab: Lab, portctl: Instance, act: () => Promise<T>): Promise<T> => {
  const before = await picture(lab, portctl)
  const result = await act()
  expect(await picture(lab, portctl)).toEqual(before)
  return result
}

/** A command fails as said and leaves everything as it was. */
export const refused = async (
  lab: Lab,
  portctl: Instance,
  args: readonly string[],
  failure: Failure,
  options?: ExecOptions,
): Promise<void> => {
  const outcome = await unchanged(lab, portctl, () => portctl.run(args, options))
  expectFailure(outcome, failure)
}

/** `node (pid 123)`: who holds a port, as ss(8) sees it. */
export const holder = async (
  lab: Lab,
  portctl: Instance,
  protocol: 'tcp' | 'udp',
  port: number,
): Promise<string> => {
  const flags = protocol === 'tcp' ? '-Hltnp' : '-Hlunp'
  const listing = await lab.sh(portctl.where, 'ss', flags, `sport = :${port}`)
  const [, name, pid] = /\(\("([^"]+)",pid=(\d+)/.exec(listing) ?? []
  if (pid === undefined) throw new Error(`nobody holds ${port}/${protocol}: ${listing}`)
  return `${name} \\(pid ${pid}\\)`
}
