/**
 * The one error table: every failure portctl reports has a row here, with its exit status, its HTTP status,
 * the text shown to the user and, where there is one, what to do about it. `docs/errors.md` is generated from it.
 *
 * A row's `text` names the culprit; `hint` is a second line that says what to do. Both are pure functions of the
 * row's parameters, so an error crosses the API as `{code, message, hint}` and reads the same on both sides.
 */

interface Row<P> {
  /** Exit status of the command: 1 it failed, 2 the command line is wrong. */
  readonly exit: 1 | 2
  /** Status of the API's answer. */
  readonly http: 400 | 403 | 404 | 409 | 422 | 500 | 502 | 503 | 504 | 507
  /** What it means, in a sentence, for docs/errors.md. */
  readonly meaning: string
  readonly text: (p: P) => string
  readonly hint?: (p: P) => string | undefined
}

const row = <P>(r: Row<P>): Row<P> => r

export const ERRORS = {
  usage: row<{ what: string }>({
    exit: 2,
    http: 400,
    meaning: 'The command line is wrong: an unknown flag, a missing argument, flags that exclude each other.',
    text: p => p.what,
    hint: () => "see 'portctl --help'",
  }),
  'spec-invalid': row<{ spec: string; part: string; why: string }>({
    exit: 2,
    http: 400,
    meaning:
      'A publish specification (`-p`) does not follow the grammar; the message names the part at fault.',
    text: p => `invalid publish specification '${p.spec}': ${p.part}: ${p.why}`,
  }),
  'name-invalid': row<{ name: string; why: string }>({
    exit: 2,
    http: 400,
    meaning: 'A name is not usable as a container, network or publication name.',
    text: p => `invalid name '${p.name}': ${p.why}`,
  }),
  'target-invalid': row<{ target: string; why: string }>({
    exit: 2,
    http: 400,
    meaning: 'The target (`--to`) is not one of: container name, address, pid:N, netns:NAME|PATH.',
    text: p => `invalid target '${p.target}': ${p.why}`,
  }),
  internal: row<{ what: string }>({
    exit: 1,
    http: 500,
    meaning: 'A defect in portctl. Please report it with the daemon log.',
    text: p => `internal error: ${p.what}`,
  }),
} as const

export type ErrorCode = keyof typeof ERRORS
export type ErrorParams<C extends ErrorCode> = (typeof ERRORS)[C] extends Row<infer P> ? P : never

/** What crosses the API and is printed by the CLI. */
export interface ErrorBody {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
}

/** The only error type thrown on purpose. `cause` keeps the failure underneath. */
export class PortctlError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  private constructor(body: ErrorBody, options?: ErrorOptions) {
    super(body.message, options)
    this.name = 'PortctlError'
    this.code = body.code
    this.hint = body.hint
  }

  static of<C extends ErrorCode>(code: C, params: ErrorParams<C>, options?: ErrorOptions): PortctlError {
    const r = ERRORS[code] as unknown as Row<ErrorParams<C>>
    const hint = r.hint?.(params)
    return new PortctlError(
      { code, message: r.text(params), ...(hint === undefined ? {} : { hint }) },
      options,
    )
  }

  /** Rebuilds an error that crossed the API or the relay's channel. */
  static from(body: ErrorBody): PortctlError {
    return new PortctlError(body)
  }

  get exit(): 1 | 2 {
    return ERRORS[this.code].exit
  }

  get http(): number {
    return ERRORS[this.code].http
  }

  toJSON(): ErrorBody {
    return { code: this.code, message: this.message, ...(this.hint === undefined ? {} : { hint: this.hint }) }
  }
}

/** Wraps anything thrown: a PortctlError passes through, the rest becomes `internal` with its cause kept. */
export const asPortctlError = (thrown: unknown): PortctlError =>
  thrown instanceof PortctlError
    ? thrown
    : PortctlError.of(
        'internal',
        { what: thrown instanceof Error ? thrown.message : String(thrown) },
        { cause: thrown },
      )
