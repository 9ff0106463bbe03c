/** What process.ts asks of the two ways to start a tool: start-vfork.ts, and start-execa.ts where there is no libc to call. */

export interface Setting {
  /** A descriptor; without it the tool reads /dev/null. */
  readonly stdin: number | undefined
  /** Descriptors that the tool gets as 3, 4, … */
  readonly inherit: readonly number[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal | undefined
  /** Milliseconds. */
  readonly timeout: number
}

export interface Outcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Why we ended a tool. */
export type Stop = 'timeout' | 'cancelled' | 'output'

/** By itself; by a signal of somebody's; by us; or it never began, for the reason that an errno's name gives. */
export type Ending =
  | Outcome
  | { readonly killed: string }
  | { readonly stopped: Stop }
  | { readonly notStarted: string }

/** Never rejects. A tool that is stopped has SIGTERM, and 5 s later SIGKILL. */
export type Start = (command: string, args: readonly string[], setting: Setting) => Promise<Ending>

/** Bytes of stdout, and of stderr; a conntrack dump of a full table (262,144 flows) is about 45 MB. */
export const MAX_OUTPUT = 256 * 1024 * 1024
