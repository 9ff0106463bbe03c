/** What the bench asks of a process of its own inside a namespace, over Node's IPC channel. */
export interface Address {
  readonly host: string
  readonly port: number
}

export interface Percentiles {
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
}

/** One method a request; parameters and results are plain data. */
export interface Agent {
  /** Serves TCP on the port: sends every byte back, holds for ever. In so many processes, for their descriptors. */
  echo(at: { readonly port: number; readonly processes?: number }): Promise<void>
  /** Opens connections, one byte to and fro on each so that both legs stand, and keeps them. */
  hold(to: Address & { readonly count: number }): Promise<void>
  /** Resets what `hold` opened. */
  release(to: Record<string, never>): Promise<void>
  /** From connect to the first byte of an echo, one connection after another. */
  firstByte(to: Address & { readonly count: number }): Promise<Percentiles>
  /** Tries until an HTTP answer arrives; the moment it did, on CLOCK_MONOTONIC in ms (performance.now is per process). */
  reach(to: Address & { readonly timeout: number }): Promise<number>
  /** HTTP requests at a fixed rate over 64 connections; latency counts from when a request was due. */
  rate(to: Address & { readonly perSecond: number; readonly seconds: number }): Promise<Percentiles>
}

export interface Request {
  readonly id: number
  readonly method: keyof Agent
  readonly parameters: unknown
}

export type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string }

/** CLOCK_MONOTONIC in milliseconds: the same in every process. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6
