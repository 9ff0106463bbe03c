/** PortctlError, the only error thrown on purpose. Add new rows under error-table/. */
import { ERRORS, type Row } from './error-table.ts'

export { ERRORS }

export type ErrorCode = keyof typeof ERRORS
export type ErrorParams<C extends ErrorCode> = (typeof ERRORS)[C] extends Row<infer P> ? P : never

/** What crosses the API and is printed by the CLI. */
export interface ErrorBody {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
  /** The row's parameters, for programs: the address and port of a conflict, say. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** The only error type thrown on purpose. `cause` keeps the failure underneath. */
export class PortctlError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly details: Readonly<Record<string, unknown>>

  private constructor(body: ErrorBody, options?: ErrorOptions) {
    super(body.message, options)
    this.name = 'PortctlError'
    this.code = body.code
    this.hint = body.hint
    this.details = body.details ?? {}
  }

  static of<C extends ErrorCode>(code: C, params: ErrorParams<C>, options?: ErrorOptions): PortctlError {
    const r = ERRORS[code] as unknown as Row<ErrorParams<C>>
    const hint = r.hint?.(params)
    return new PortctlError(
      {
        code,
        message: r.text(params),
        ...(hint === undefined ? {} : { hint }),
        details: params as Readonly<Record<string, unknown>>,
      },
      options,
    )
  }

  /** Rebuilds an error that crossed the API or the relay's channel. */
  static from(body: ErrorBody): PortctlError {
    return new PortctlError(body)
  }

  get exit(): Row<never>['exit'] {
    return ERRORS[this.code].exit
  }

  get http(): number {
    return ERRORS[this.code].http
  }

  toJSON(): ErrorBody {
    const { code, message, hint, details } = this
    return { code, message, ...(hint === undefined ? {} : { hint }), details }
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
