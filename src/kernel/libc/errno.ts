/** errno values the data path tells apart (asm-generic/errno.h); every other one is shown by its name. */
import { constants } from 'node:os'

export const {
  EPERM,
  ENOENT,
  EINTR,
  EBADF,
  EAGAIN,
  ENOMEM,
  EACCES,
  ENFILE,
  EMFILE,
  EAFNOSUPPORT,
  EADDRINUSE,
  EADDRNOTAVAIL,
  ENOBUFS,
  ECONNREFUSED,
  EINPROGRESS,
} = constants.errno

const names = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]))

/** `EADDRINUSE` for 98; `errno 1234` for a value Node has no name for. */
export const errnoName = (errno: number): string => names.get(errno) ?? `errno ${errno}`
