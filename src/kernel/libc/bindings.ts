/**
 * libc's functions as plain JavaScript calls. Pointers are numbers (`Pinned.address` plus an offset, 0 = NULL):
 * koffi passes a number through unchanged, and a call costs some 0.2 µs. Each function returns what libc returns,
 * −1 for failure; only then does the caller look at `errno()`.
 *
 * Load once per thread: errno lives in thread-local storage, its address is asked for at load time and read
 * without a call.
 */
import type koffiModule from 'koffi'
import { type Pinned, pin } from './memory.ts'

type Koffi = typeof koffiModule

const PROTOTYPES = {
  socket: ['int', ['int', 'int', 'int']],
  bind: ['int', ['int', 'uintptr_t', 'uint']],
  listen: ['int', ['int', 'int']],
  accept4: ['int', ['int', 'uintptr_t', 'uintptr_t', 'int']],
  connect: ['int', ['int', 'uintptr_t', 'uint']],
  getpeername: ['int', ['int', 'uintptr_t', 'uintptr_t']],
  getsockname: ['int', ['int', 'uintptr_t', 'uintptr_t']],
  setsockopt: ['int', ['int', 'int', 'int', 'uintptr_t', 'uint']],
  getsockopt: ['int', ['int', 'int', 'int', 'uintptr_t', 'uintptr_t']],
  shutdown: ['int', ['int', 'int']],
  close: ['int', ['int']],
  recv: ['intptr_t', ['int', 'uintptr_t', 'size_t', 'int']],
  send: ['intptr_t', ['int', 'uintptr_t', 'size_t', 'int']],
  recvmsg: ['intptr_t', ['int', 'uintptr_t', 'int']],
  sendmsg: ['intptr_t', ['int', 'uintptr_t', 'int']],
  recvmmsg: ['int', ['int', 'uintptr_t', 'uint', 'int', 'uintptr_t']],
  sendmmsg: ['int', ['int', 'uintptr_t', 'uint', 'int']],
  splice: ['intptr_t', ['int', 'uintptr_t', 'int', 'uintptr_t', 'size_t', 'uint']],
  pipe2: ['int', ['uintptr_t', 'int']],
  fcntl: ['int', ['int', 'int', 'intptr_t']],
  read: ['intptr_t', ['int', 'uintptr_t', 'size_t']],
  write: ['intptr_t', ['int', 'uintptr_t', 'size_t']],
  open: ['int', ['str', 'int', 'uint']],
  epoll_create1: ['int', ['int']],
  epoll_ctl: ['int', ['int', 'int', 'int', 'uintptr_t']],
  epoll_wait: ['int', ['int', 'uintptr_t', 'int', 'int']],
  eventfd: ['int', ['uint', 'int']],
  setns: ['int', ['int', 'int']],
  unshare: ['int', ['int']],
  // These return the errno themselves, as does posix_spawnp.
  posix_spawn_file_actions_init: ['int', ['uintptr_t']],
  posix_spawn_file_actions_adddup2: ['int', ['uintptr_t', 'int', 'int']],
  posix_spawn_file_actions_destroy: ['int', ['uintptr_t']],
  posix_spawnattr_init: ['int', ['uintptr_t']],
  posix_spawnattr_setflags: ['int', ['uintptr_t', 'int16_t']],
  posix_spawnattr_setsigmask: ['int', ['uintptr_t', 'uintptr_t']],
  posix_spawnattr_setsigdefault: ['int', ['uintptr_t', 'uintptr_t']],
  posix_spawnp: ['int', ['uintptr_t', 'str', 'uintptr_t', 'uintptr_t', 'uintptr_t', 'uintptr_t']],
  waitpid: ['int', ['int', 'uintptr_t', 'int']],
  // For calls that not every libc has a function for. Variadic, which integers do not notice on these machines.
  syscall: ['intptr_t', ['intptr_t', 'intptr_t', 'intptr_t', 'intptr_t']],
  // Returns the errno itself.
  pthread_sigmask: ['int', ['int', 'uintptr_t', 'uintptr_t']],
  prlimit: ['int', ['int', 'int', 'uintptr_t', 'uintptr_t']],
  inet_pton: ['int', ['int', 'str', 'uintptr_t']],
  inet_ntop: ['str', ['int', 'uintptr_t', 'uintptr_t', 'uint']],
  if_nametoindex: ['uint', ['str']],
} as const satisfies Record<string, readonly [string, readonly string[]]>

type Argument = { readonly str: string; readonly [numeric: string]: string | number }
type Result<T extends string> = T extends 'str' ? string | null : number
type Call<P> = P extends readonly [infer R extends string, infer A extends readonly string[]]
  ? (...args: { -readonly [I in keyof A]: A[I] extends 'str' ? Argument['str'] : number }) => Result<R>
  : never
type Calls = { readonly [N in keyof typeof PROTOTYPES]: Call<(typeof PROTOTYPES)[N]> }

export interface Libc extends Calls {
  /** The calling thread's errno; meaningful right after a call returned −1. */
  readonly errno: () => number
  readonly pin: (size: number) => Pinned
}

export const bindLibc = (koffi: Koffi): Libc => {
  const image = koffi.load(null)
  const calls = Object.fromEntries(
    Object.entries(PROTOTYPES).map(([name, [result, args]]) => [name, image.func(name, result, [...args])]),
  ) as unknown as Calls
  // glibc and musl: int *__errno_location(void).
  const errno = new Int32Array(koffi.view(image.func('__errno_location', 'uintptr_t', [])(), 4))
  return {
    ...calls,
    errno: () => errno[0] as number,
    pin: size => pin(size, memory => Number(koffi.address(memory))),
  }
}
