/** Does the same to each of several containers: one that fails does not keep the rest from being done. */
import type { Env } from './env.ts'
import { formatJson } from './output.ts'

/** Prints the names that were done. @throws what failed; an AggregateError when that is more than one. */
export const forEachName = async (
  env: Env,
  names: readonly string[],
  act: (name: string) => Promise<unknown>,
): Promise<void> => {
  const done: string[] = []
  const errors: unknown[] = []
  for (const name of names) {
    try {
      await act(name)
      done.push(name)
      if (!env.json) env.print(name)
    } catch (error) {
      errors.push(error)
    }
  }
  if (env.json) env.print(formatJson(done))
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors)
}
