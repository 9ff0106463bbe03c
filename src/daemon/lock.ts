/**
 * One daemon per run directory and per state directory.
 *
 * The lock is flock(2) on a file in each: the kernel holds it for the open file description, across network
 * namespaces, and lets go of it however the daemon ends, so there is no stale lock and nothing to recover. Node has no
 * flock; flock(1) locks a descriptor that it inherits and ends, and the lock stays with ours. (No FFI here: a daemon
 * without libc bindings still runs.) The file holds the daemon's pid for messages only, and is never removed: a second
 * daemon might hold a lock on the removed one.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { PortctlError } from '../core/errors.ts'
import { describeFault } from '../core/os-error.ts'
import { execute, succeed } from '../kernel/process.ts'

export interface Lock {
  release(): Promise<void>
}

/** @throws daemon-running, state-in-use, state-unreadable */
export const acquireLock = async (dirs: {
  readonly runDir: string
  readonly stateDir: string
}): Promise<Lock> => {
  const { runDir, stateDir } = dirs
  refuseLongName(runDir)
  const run = await lockFile(join(runDir, 'portctl.lock'), pid =>
    PortctlError.of('daemon-running', { runDir, pid }),
  )
  try {
    const state = await lockFile(join(stateDir, 'lock'), pid =>
      PortctlError.of('state-in-use', { stateDir, pid }),
    )
    return {
      release: async () => {
        await state.close()
        await run.close()
      },
    }
  } catch (error) {
    await run.close()
    throw error
  }
}

/** Bytes of sockaddr_un.sun_path without its NUL (unix(7)). */
const SOCKET_NAME_MAX = 107
/** Of the sockets in the run directory the longest: the API's before it is renamed (api-server.ts). */
const LONGEST_SOCKET = 'portctl.sock.4194304'

/** Node cuts a longer name off without a word, and two sockets would be one. */
const refuseLongName = (runDir: string): void => {
  const most = SOCKET_NAME_MAX - LONGEST_SOCKET.length - 1
  if (Buffer.byteLength(runDir) > most)
    throw PortctlError.of('state-unreadable', {
      path: runDir,
      why: `its name is longer than ${most} bytes, too long for the sockets in it`,
    })
}

/** flock(1): exit status for a lock that another process holds. */
const HELD = 1

/** The open, locked file; closing it gives the lock back. */
const lockFile = async (path: string, held: (pid: number | null) => PortctlError): Promise<FileHandle> => {
  const file = await open(path, 'a+', 0o600).catch((cause: unknown) => {
    throw PortctlError.of('state-unreadable', { path, why: describeFault(cause) }, { cause })
  })
  try {
    // The tool's first inherited descriptor is 3.
    const outcome = await execute('flock', ['--nonblock', '3'], { inherit: [file.fd] })
    if (outcome.exitCode === HELD) throw held(parsePid(await file.readFile('utf8')))
    succeed('flock', outcome)
    await file.truncate(0)
    await file.write(`${process.pid}\n`)
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

/** null: its holder has not written it yet. */
const parsePid = (text: string): number | null => (/^\d+\n$/.test(text) ? Number(text) : null)
