/** iperf3: bulk bytes, counted by the receiver. */
import { type Netns, run } from '../lab/process.ts'

export interface Iperf3Result {
  readonly bytes: number
  readonly gigabitsPerSecond: number
}

interface Report {
  readonly error?: string
  readonly end: { readonly sum_received: { readonly bytes: number; readonly bits_per_second: number } }
}

export const iperf3 = async (
  from: Netns,
  { host, port }: { readonly host: string; readonly port: number },
  { streams, seconds }: { readonly streams: number; readonly seconds: number },
): Promise<Iperf3Result> => {
  const output = await run(
    from,
    ['iperf3', '-J', '-c', host, '-p', String(port), '-P', String(streams), '-t', String(seconds)],
    { timeout: (seconds + 20) * 1000 },
  )
  const { end } = JSON.parse(output) as Report
  return { bytes: end.sum_received.bytes, gigabitsPerSecond: end.sum_received.bits_per_second / 1e9 }
}
