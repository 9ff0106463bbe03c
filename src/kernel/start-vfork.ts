/**
 * Tools started by posix_spawn(3), many times faster than by Node (libc/spawn.ts).
 *
 * Node knows nothing of such a child. Its output comes through pipes, which Node reads like every other; that it ended
 * is told by SIGCHLD, upon which each child that has not been waited for yet is looked at: several ends may come as one
 * signal. The process id stays the child's until then, so killing by it cannot hit somebody else.
 */
import { Socket } from 'node:net'
import { constants } from 'node:os'
import { errnoName, type Libc, O_CLOEXEC, WNOHANG } from './libc/index.ts'
import { createSpawn } from './libc/spawn.ts'
import { type Ending, MAX_OUTPUT, type Setting, type Start, type Stop } from './start.ts'

/** Milliseconds between SIGTERM and SIGKILL. */
const PATIENCE = 5_000
/** Milliseconds for what a stopped tool wrote; pipes open after that are held by a child of its own, which goes on. */
const REMAINDER = 200

const signalName = (number: number): string =>
  Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`

/** A child's status when it ended, or the errno of what kept us from it. */
type Status = { readonly status: number } | { readonly errno: number }

interface Children {
  readonly add: (pid: number, ended: (status: Status) => void) => void
  /** Looks at each, and tells of those that ended. */
  readonly collect: () => void
}

const createChildren = (libc: Libc): Children => {
  const children = new Map<number, (status: Status) => void>()
  const memory = libc.pin(4)
  const collect = (): void => {
    for (const [pid, ended] of children) {
      const got = libc.waitpid(pid, memory.address, WNOHANG)
      if (got === 0) continue
      children.delete(pid)
      ended(got === pid ? { status: memory.view.getInt32(0, true) } : { errno: libc.errno() })
    }
  }
  process.on('SIGCHLD', collect)
  return { add: (pid, ended) => children.set(pid, ended), collect }
}

/** Reads a status of waitpid(2) as WIFSIGNALED, WTERMSIG and WEXITSTATUS do. */
const outcome = (end: Status, stdout: string, stderr: string): Ending => {
  if ('errno' in end) return { notStarted: errnoName(end.errno) }
  const signal = end.status & 0x7f
  return signal === 0
    ? { exitCode: (end.status >> 8) & 0xff, stdout, stderr }
    : { killed: signalName(signal) }
}

interface Pipe {
  readonly read: number
  readonly write: number
}

/** Two pipes, for stdout and stderr, or the errno. */
const openPipes = (libc: Libc): readonly [Pipe, Pipe] | number => {
  const ends = libc.pin(16)
  const pipe = (at: number): Pipe => ({
    read: ends.view.getInt32(at, true),
    write: ends.view.getInt32(at + 4, true),
  })
  if (libc.pipe2(ends.address, O_CLOEXEC) === -1) return libc.errno()
  if (libc.pipe2(ends.address + 8, O_CLOEXEC) === 0) return [pipe(0), pipe(8)]
  const errno = libc.errno()
  libc.close(pipe(0).read)
  libc.close(pipe(0).write)
  return errno
}

/** All that comes through a pipe, when it has closed. */
const drain = (pipe: Socket, tooMuch: () => void): Promise<string> => {
  const chunks: Buffer[] = []
  let size = 0
  pipe.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > MAX_OUTPUT) tooMuch()
    else chunks.push(chunk)
  })
  // It closes all the same.
  pipe.on('error', () => {})
  return new Promise(resolve => pipe.on('close', () => resolve(Buffer.concat(chunks).toString())))
}

/** Sends a signal to a child that was not waited for; one that took another user's rights may not be ended by us. */
const kill = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch {}
}

/** Not before the loop has read once: it looks at timers first. */
const soon = (action: () => void): NodeJS.Timeout => setTimeout(() => setImmediate(action), REMAINDER)

export const createStartByVfork = (libc: Libc): Start => {
  const spawn = createSpawn(libc)
  const children = createChildren(libc)

  const attend = async (
    pid: number,
    reads: readonly number[],
    { signal, timeout }: Setting,
  ): Promise<Ending> => {
    let stopped: Stop | undefined
    let running = true
    let whole = true
    /** It ended without our doing. */
    let alone = true
    let next: NodeJS.Timeout | undefined
    const pipes = reads.map(fd => new Socket({ fd, readable: true, writable: false }))
    const leave = (): void => {
      if (pipes.every(pipe => pipe.destroyed)) return
      whole = false
      for (const pipe of pipes) pipe.destroy()
    }
    const stop = (why: Stop): void => {
      if (stopped !== undefined) return
      // It may have ended while this thread did something else.
      children.collect()
      alone = !running
      stopped = why
      if (running) kill(pid, 'SIGTERM')
      next = running ? setTimeout(kill, PATIENCE, pid, 'SIGKILL') : soon(leave)
    }
    const tooMuch = (): void => {
      whole = false
      stop('output')
    }
    const ended = new Promise<Status>(resolve => {
      children.add(pid, status => {
        running = false
        clearTimeout(next)
        if (stopped !== undefined) next = soon(leave)
        resolve(status)
      })
    })
    const cancel = (): void => stop('cancelled')
    signal?.addEventListener('abort', cancel)
    const timer = setTimeout(stop, timeout, 'timeout')
    const [status, stdout = '', stderr = ''] = await Promise.all([
      ended,
      ...pipes.map(pipe => drain(pipe, tooMuch)),
    ])
    clearTimeout(timer)
    clearTimeout(next)
    signal?.removeEventListener('abort', cancel)
    const ending = outcome(status, stdout, stderr)
    // One that ended well after our SIGTERM has done what it was asked to.
    const success = 'exitCode' in ending && ending.exitCode === 0
    return stopped === undefined || (whole && (alone || success)) ? ending : { stopped }
  }

  return async (command, args, setting) => {
    if (setting.signal?.aborted) return { stopped: 'cancelled' }
    const pipes = openPipes(libc)
    if (typeof pipes === 'number') return { notStarted: errnoName(pipes) }
    const [out, err] = pipes
    const { stdin, inherit, env } = setting
    const started = spawn({ command, args, env, stdio: [stdin, out.write, err.write, ...inherit] })
    libc.close(out.write)
    libc.close(err.write)
    if ('pid' in started) return attend(started.pid, [out.read, err.read], setting)
    libc.close(out.read)
    libc.close(err.read)
    return { notStarted: errnoName(started.errno) }
  }
}
