/**
 * How far apart two CPUs are: the time of a round trip of one cache line between two threads that spin, in nanoseconds.
 *
 * A virtual machine's CPUs are threads of its host, which moves them: now they share a cache, a minute later they sit on
 * different chips. Nothing else shows it: loops that only compute run as fast, no time is stolen. But a proxy's work is handing
 * data from one CPU to another, and bulk throughput halves, to all contestants alike.
 */
import { Worker } from 'node:worker_threads'

/** What the two threads share: each cell on a cache line of its own. */
export const CELL = { go: 0, turn: 32 } as const
const CELLS = 64
/** Values of `turn`: whose move it is, or that the game is over. */
export const TURN = { ours: 0, theirs: 1, over: 2 } as const

/** Above it the two CPUs share no cache: some 100 ns within one, from 200 on between two. */
const FAR = 200

export const isFar = (nanoseconds: number): boolean => nanoseconds > FAR

/** Bursts of so many milliseconds; the fastest counts: in another the two threads may have shared a CPU. */
const BURSTS = 4
const BURST = 2
/** Of those in which no ball came back. */
const LOST_BURSTS = 40
const TRIPS = 64
/** About 0.1 ms of waiting. */
const SPINS = 50_000

/** Nanoseconds. Where other processes leave the two threads no CPU each: what was found last. */
export type CoreLatency = () => number

/** Starts the second thread, core-latency-worker.ts. Each call then takes 8 ms, in which both threads spin. */
export const openCoreLatency = (workerFile: string): CoreLatency => {
  const cells = new Int32Array(new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT))
  const worker = new Worker(workerFile, { workerData: cells })
  worker.unref()

  const trip = (end: number): boolean => {
    Atomics.store(cells, CELL.turn, TURN.theirs)
    for (let spins = 0; Atomics.load(cells, CELL.turn) !== TURN.ours; spins++)
      if (spins % SPINS === SPINS - 1 && performance.now() > end) return false
    return true
  }

  const burst = (): number => {
    Atomics.store(cells, CELL.turn, TURN.ours)
    Atomics.add(cells, CELL.go, 1)
    Atomics.notify(cells, CELL.go)
    const end = performance.now() + BURST
    let best = Number.POSITIVE_INFINITY
    for (let now = performance.now(), answered = true; answered && now < end; ) {
      for (let i = 0; answered && i < TRIPS; i++) answered = trip(end)
      const then = now
      now = performance.now()
      if (answered) best = Math.min(best, ((now - then) * 1e6) / TRIPS)
    }
    Atomics.store(cells, CELL.turn, TURN.over)
    return best
  }

  let last = 0
  return () => {
    let best = Number.POSITIVE_INFINITY
    for (let lost = 0, good = 0; good < BURSTS && lost < LOST_BURSTS; ) {
      const found = burst()
      if (Number.isFinite(found)) good++
      else lost++
      best = Math.min(best, found)
    }
    if (Number.isFinite(best)) last = best
    return last
  }
}
