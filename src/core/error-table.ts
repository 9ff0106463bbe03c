/**
 * The one error table: every failure portctl reports has a row here, with its exit status, its HTTP status,
 * the text shown to the user and, where there is one, what to do about it. `docs/errors.md` is generated from it.
 *
 * A row's `text` names the culprit; `hint` is a second line that says what to do. Both are pure functions of the
 * row's parameters, so an error crosses the API as `{code, message, hint}` and reads the same on both sides.
 *
 * The rows are in the folder of this name, by what they are about: add new ones there.
 */
import { CONTAINER_ERRORS } from './error-table/containers.ts'
import { DAEMON_ERRORS } from './error-table/daemon.ts'
import { INPUT_ERRORS } from './error-table/input.ts'
import { KERNEL_ERRORS } from './error-table/kernel.ts'
import { PUBLISHING_ERRORS } from './error-table/publishing.ts'

export type { Row } from './error-table/row.ts'

export const ERRORS = {
  ...INPUT_ERRORS,
  ...PUBLISHING_ERRORS,
  ...CONTAINER_ERRORS,
  ...KERNEL_ERRORS,
  ...DAEMON_ERRORS,
} as const
