/** wrk: HTTP load in C, for where a Node client would be the bottleneck. */
import { type Netns, run } from '../lab/process.ts'

export interface WrkResult {
  readonly requests: number
  readonly perSecond: number
  /** Connect, read, write errors and timeouts. */
  readonly errors: number
}

export interface WrkOptions {
  readonly connections: number
  readonly seconds: number
  /** One connection a request. */
  readonly close?: boolean
}

export const wrk = async (from: Netns, url: string, options: WrkOptions): Promise<WrkResult> => {
  const { connections, seconds, close = false } = options
  const output = await run(
    from,
    [
      'wrk',
      // It counts whole seconds, and reports when it is interrupted.
      ...['-t', String(Math.min(2, connections)), '-c', String(connections), '-d', `${Math.ceil(seconds)}s`],
      ...(close ? ['-H', 'Connection: close'] : []),
      url,
    ],
    {
      timeout: (seconds + 20) * 1000,
      ...(Number.isInteger(seconds) ? {} : { interrupt: seconds * 1000 }),
    },
  )
  const requests = Number(/(\d+) requests in/.exec(output)?.[1] ?? 0)
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1] ?? 0)
  const errors = (/Socket errors: (.*)/.exec(output)?.[1]?.match(/\d+/g) ?? []).map(Number)
  if (requests === 0) throw new Error(`wrk ${url}: no answer\n${output}`)
  return { requests, perSecond, errors: errors.reduce((a, b) => a + b, 0) }
}
