/** autocannon: the HTTP load a user repeats with one line. A single Node process, so it tops out before the paths do. */
import { join } from 'node:path'
import { paths } from '../lab/paths.ts'
import { type Netns, run } from '../lab/process.ts'

export interface AutocannonResult {
  readonly requests: number
  readonly perSecond: number
  readonly errors: number
}

interface Report {
  readonly requests: { readonly total: number; readonly average: number }
  readonly errors: number
  readonly non2xx: number
}

export const autocannon = async (
  from: Netns,
  url: string,
  { connections, seconds }: { readonly connections: number; readonly seconds: number },
): Promise<AutocannonResult> => {
  const program = join(paths.root, 'node_modules/autocannon/autocannon.js')
  const output = await run(
    from,
    ['node', program, '--json', '-c', String(connections), '-d', String(seconds), url],
    { timeout: (seconds + 20) * 1000 },
  )
  const report = JSON.parse(output) as Report
  return {
    requests: report.requests.total,
    perSecond: report.requests.average,
    errors: report.errors + report.non2xx,
  }
}
