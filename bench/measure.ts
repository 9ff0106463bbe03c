/** Runs cases one after the other, telling the reader how far it is. */
import type { Case } from './cases/case.ts'
import type { Laboratory } from './lab/laboratory.ts'
import type { CaseResult } from './report/results.ts'
import { runCase } from './rounds.ts'

export const measure = async (
  cases: readonly Case[],
  laboratory: Laboratory,
  rounds: number,
  say: (line: string) => void,
): Promise<readonly CaseResult[]> => {
  const results: CaseResult[] = []
  for (const [i, one] of cases.entries()) {
    const started = performance.now()
    const measured = await runCase(one, laboratory, rounds, (done, of, now) => {
      const elapsed = Math.round(performance.now() / 1000)
      say(`[${String(elapsed).padStart(3)} s] ${i + 1}/${cases.length} ${one.name} ${done}/${of} ${now}`)
    })
    const { name, title, method, metrics } = one
    results.push({
      name,
      title,
      method,
      command: `npm run bench -- ${name}`,
      at: new Date().toISOString(),
      seconds: Math.round((performance.now() - started) / 1000),
      metrics,
      ...(one.axis === undefined ? {} : { axis: one.axis }),
      measured,
    })
  }
  return results
}
