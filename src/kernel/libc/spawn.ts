/**
 * Starts a program by posix_spawn(3): until it executes, the child runs in this process's own memory while the calling
 * thread waits, half a millisecond. Node's spawn forks, and a fork copies the page tables first: 7 to 13 ms for control
 * on the machine of docs/PERFORMANCE.md, in which nothing else of it runs.
 */
import { F_DUPFD_CLOEXEC, type Libc, O_CLOEXEC, O_RDONLY, type Pinned } from './index.ts'

interface Program {
  /** Looked for in PATH. */
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Descriptors that it gets as 0, 1, 2, …; undefined: /dev/null, to read from. */
  readonly stdio: readonly (number | undefined)[]
}

/** More than posix_spawn_file_actions_t and posix_spawnattr_t have in glibc and musl (80 and 336 bytes). */
const OPAQUE = 512
const SIGSET = 128
const POINTER = 8
// spawn.h
const POSIX_SPAWN_SETPGROUP = 0x02
const POSIX_SPAWN_SETSIGDEF = 0x04
const POSIX_SPAWN_SETSIGMASK = 0x08
/** Signals 1 to 31. What Node ignores (SIGPIPE) is not for a tool to inherit; SIGKILL and SIGSTOP do not mind. */
const EVERY_SIGNAL = 0x7fff_ffff

/** A NULL-terminated array of strings, as execve(2) wants it; none of them has a NUL inside. */
const strings = (libc: Libc, list: readonly string[]): Pinned => {
  const bytes = list.map(text => Buffer.from(`${text}\0`))
  const table = (list.length + 1) * POINTER
  const memory = libc.pin(bytes.reduce((size, { length }) => size + length, table))
  let at = table
  for (const [i, text] of bytes.entries()) {
    memory.view.setBigUint64(i * POINTER, BigInt(memory.address + at), true)
    memory.bytes.set(text, at)
    at += text.length
  }
  return memory
}

/**
 * Every signal at its default and none blocked; a process group of its own, so that Ctrl-C at the terminal of a daemon
 * in the foreground does not end the tools that it needs to take its rules back.
 */
const attributes = (libc: Libc): Pinned => {
  const [memory, signals] = [libc.pin(OPAQUE), libc.pin(SIGSET)]
  libc.posix_spawnattr_init(memory.address)
  libc.posix_spawnattr_setflags(
    memory.address,
    POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK,
  )
  libc.posix_spawnattr_setsigmask(memory.address, signals.address)
  signals.view.setUint32(0, EVERY_SIGNAL, true)
  libc.posix_spawnattr_setsigdefault(memory.address, signals.address)
  return memory
}

/** Gives the process's id, or what libc says of why there is none. The caller waits for it (waitpid(2)). */
export type Spawn = (program: Program) => { readonly pid: number } | { readonly errno: number }

export const createSpawn = (libc: Libc): Spawn => {
  const [attr, actions, pid] = [attributes(libc), libc.pin(OPAQUE), libc.pin(4)]
  // Of the latest program, so that they outlive the call that reads them.
  let [argv, envp] = [libc.pin(0), libc.pin(0)]

  const start = (command: string, copies: readonly number[]): number => {
    libc.posix_spawn_file_actions_init(actions.address)
    try {
      for (const [i, fd] of copies.entries()) libc.posix_spawn_file_actions_adddup2(actions.address, fd, i)
      return libc.posix_spawnp(
        pid.address,
        command,
        actions.address,
        attr.address,
        argv.address,
        envp.address,
      )
    } finally {
      libc.posix_spawn_file_actions_destroy(actions.address)
    }
  }

  /** A descriptor of at least `least`, above what the child's will be: below, a dup2 would overwrite what a later one is to copy. */
  const copy = (fd: number | undefined, least: number): number => {
    if (fd !== undefined) return libc.fcntl(fd, F_DUPFD_CLOEXEC, least)
    const nothing = libc.open('/dev/null', O_RDONLY | O_CLOEXEC, 0)
    if (nothing === -1 || nothing >= least) return nothing
    const above = libc.fcntl(nothing, F_DUPFD_CLOEXEC, least)
    libc.close(nothing)
    return above
  }

  return ({ command, args, env, stdio }) => {
    const words = [command, ...args]
    const variables = Object.entries(env).filter(([, value]) => value !== undefined)
    const settings = variables.map(([name, value]) => `${name}=${value}`)
    const copies: number[] = []
    try {
      for (const fd of stdio) {
        const own = copy(fd, stdio.length)
        if (own === -1) return { errno: libc.errno() }
        copies.push(own)
      }
      argv = strings(libc, words)
      envp = strings(libc, settings)
      const errno = start(command, copies)
      return errno === 0 ? { pid: pid.view.getInt32(0, true) } : { errno }
    } finally {
      for (const fd of copies) libc.close(fd)
    }
  }
}
