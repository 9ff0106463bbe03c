/** The other thread of core-latency.ts: sleeps until it is woken, then returns every ball until the game is over. */
import { workerData } from 'node:worker_threads'
import { CELL, TURN } from './core-latency.ts'

const cells = workerData as Int32Array<SharedArrayBuffer>

const play = (): void => {
  for (;;) {
    const turn = Atomics.load(cells, CELL.turn)
    // Not a plain store: the game may have ended since the look.
    if (turn === TURN.theirs) Atomics.compareExchange(cells, CELL.turn, TURN.theirs, TURN.ours)
    else if (turn === TURN.over) return
  }
}

// Read before the game: one that begins meanwhile is not slept through.
for (let games = 0; ; ) {
  Atomics.wait(cells, CELL.go, games)
  games = Atomics.load(cells, CELL.go)
  play()
}
