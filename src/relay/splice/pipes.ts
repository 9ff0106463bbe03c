/**
 * Pipes for splice, pooled: a direction takes one while it moves bulk and gives it back empty, so that a thread
 * needs as many as it has directions in full flow or under back-pressure, whatever the number of connections.
 *
 * A pipe is asked to hold 1 MiB. Beyond pipe-user-pages-soft an unprivileged user gets smaller ones, which works
 * too; when no pipe can be had at all (descriptors, pipe-user-pages-hard), `take` says so and the caller copies.
 */
import { F_SETPIPE_SZ, type Libc, O_CLOEXEC, O_NONBLOCK } from '../../kernel/libc/index.ts'

const NONE = -1
const PIPE_BYTES = 1 << 20
/** Empty pipes kept for the next taker; an empty pipe costs two descriptors and some 4 KiB of kernel memory. */
const KEPT = 32

export class PipePool {
  readonly #libc: Libc
  readonly #ceiling: number
  readonly #ends: Int32Array
  readonly #endsAt: number
  /** Descriptors by pipe number. */
  readonly #readers: number[] = []
  readonly #writers: number[] = []
  readonly #empty: number[] = []
  readonly #unused: number[] = []

  /** @param ceiling descriptors from this number on are not for pipes */
  constructor(libc: Libc, ceiling: number) {
    this.#libc = libc
    this.#ceiling = ceiling
    const ends = libc.pin(8)
    this.#ends = new Int32Array(ends.bytes.buffer)
    this.#endsAt = ends.address
  }

  reader(pipe: number): number {
    return this.#readers[pipe] as number
  }

  writer(pipe: number): number {
    return this.#writers[pipe] as number
  }

  /** An empty pipe's number, or −1. */
  take(): number {
    const pooled = this.#empty.pop()
    if (pooled !== undefined) return pooled
    if (this.#libc.pipe2(this.#endsAt, O_NONBLOCK | O_CLOEXEC) < 0) return NONE
    const [reader, writer] = this.#ends as unknown as [number, number]
    if (Math.max(reader, writer) >= this.#ceiling) {
      this.#libc.close(reader)
      this.#libc.close(writer)
      return NONE
    }
    this.#libc.fcntl(writer, F_SETPIPE_SZ, PIPE_BYTES)
    const pipe = this.#unused.pop() ?? this.#readers.length
    this.#readers[pipe] = reader
    this.#writers[pipe] = writer
    return pipe
  }

  /** Takes a pipe back; one that still holds bytes is closed with them. */
  give(pipe: number, empty: boolean): void {
    if (empty && this.#empty.length < KEPT) this.#empty.push(pipe)
    else this.#discard(pipe)
  }

  /** Frees the descriptors of the pooled ones. */
  drain(): void {
    for (const pipe of this.#empty.splice(0)) this.#discard(pipe)
  }

  #discard(pipe: number): void {
    this.#libc.close(this.reader(pipe))
    this.#libc.close(this.writer(pipe))
    this.#unused.push(pipe)
  }
}
