/** Every verb, in the order of the help. */
import type { Verb } from '../verb.ts'
import { daemon } from './daemon.ts'
import { exec } from './exec.ts'
import { inspect } from './inspect.ts'
import { ls } from './ls.ts'
import { port } from './port.ts'
import { ps } from './ps.ts'
import { publish } from './publish.ts'
import { rm } from './rm.ts'
import { run } from './run.ts'
import { status } from './status.ts'
import { stop } from './stop.ts'
import { unpublish } from './unpublish.ts'
import { version } from './version.ts'

export const GROUPS: readonly { readonly heading: string; readonly verbs: readonly Verb[] }[] = [
  { heading: 'Publications', verbs: [publish, unpublish, ls, port] },
  { heading: 'Containers', verbs: [run, ps, exec, stop, rm] },
  { heading: 'The tool', verbs: [inspect, status, daemon, version] },
]

export const VERBS: readonly Verb[] = GROUPS.flatMap(group => group.verbs)
