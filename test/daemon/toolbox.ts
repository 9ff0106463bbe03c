/** A PATH of a daemon's own: this machine's tools but for some, and an nft that fails when it is told to. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Lab } from '../lab/lab.ts'

const SYSTEM = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'] as const

export interface Toolbox {
  readonly path: string
  /** So many transactions go through, the next one fails, then all go through again. */
  failAfter(transactions: number): void
  /** Takes `failAfter` back. */
  heal(): void
  /** The next transaction waits for `release`. */
  hold(): void
  release(fate: 'failing' | 'let through'): void
  /** Whether a transaction is waiting. */
  readonly holding: boolean
}

/** Removed with the laboratory. */
export const createToolbox = (lab: Lab, options: { readonly without?: readonly string[] } = {}): Toolbox => {
  const directory = mkdtempSync(join(tmpdir(), `${lab.prefix}-tools-`))
  lab.onDispose(async () => rmSync(directory, { recursive: true }))
  const without = new Set(options.without)
  // Not asked of the directory: a link that leads nowhere does not exist, and cannot be made either.
  const linked = new Set(['nft'])
  for (const system of SYSTEM)
    for (const tool of existsSync(system) ? readdirSync(system) : [])
      if (!without.has(tool) && !linked.has(tool)) {
        symlinkSync(join(system, tool), join(directory, tool))
        linked.add(tool)
      }
  const [passes, gate, waiting] = [
    join(directory, '.passes'),
    join(directory, '.gate'),
    join(directory, '.waiting'),
  ]
  const nft = SYSTEM.map(system => join(system, 'nft')).find(existsSync)
  if (!without.has('nft')) {
    writeFileSync(join(directory, 'nft'), script(`${nft}`, passes, gate, waiting))
    chmodSync(join(directory, 'nft'), 0o755)
  }
  return {
    path: directory,
    failAfter: transactions => writeFileSync(passes, `${transactions}\n`),
    heal: () => rmSync(passes, { force: true }),
    hold: () => writeFileSync(gate, ''),
    release: fate => writeFileSync(gate, `${fate}\n`),
    get holding() {
      return existsSync(waiting)
    },
  }
}

const script = (nft: string, passes: string, gate: string, waiting: string): string => `#!/bin/sh
refuse() {
  echo 'internal:0:0-0: Error: Could not process rule: No buffer space available' >&2
  exit 1
}
case " $* " in *' -f '*)
  if [ -e '${gate}' ]; then
    : >'${waiting}'
    while [ ! -s '${gate}' ]; do sleep 0.02; done
    read -r fate <'${gate}'
    rm '${gate}' '${waiting}'
    [ "$fate" = failing ] && refuse
  fi
  if [ -e '${passes}' ]; then
    read -r left <'${passes}'
    [ "$left" = 0 ] && rm '${passes}' && refuse
    echo $((left - 1)) >'${passes}'
  fi
esac
exec ${nft} "$@"
`
