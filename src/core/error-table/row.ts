/** What a row of the error table holds. */
export interface Row<P> {
  /** Exit status of the command: 1 it failed, 2 the command line is wrong; 126 and 127 as a shell has them. */
  readonly exit: 1 | 2 | 126 | 127
  /** Status of the API's answer. */
  readonly http: 400 | 403 | 404 | 409 | 422 | 500 | 502 | 503 | 504 | 507
  /** What it means, in a sentence, for docs/errors.md. */
  readonly meaning: string
  readonly text: (p: P) => string
  readonly hint?: (p: P) => string | undefined
}

export const row = <P>(r: Row<P>): Row<P> => r
