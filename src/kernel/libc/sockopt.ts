/** Socket options whose value is an int, and SO_LINGER, through one scratch struct per thread. */
import type { Libc } from './bindings.ts'
import { SO_LINGER, SOL_SOCKET } from './constants.ts'

export interface SocketOptions {
  /** Returns what setsockopt(2) returns. */
  setInt(fd: number, level: number, name: number, value: number): number
  /** The value, or −1 with errno set. */
  getInt(fd: number, level: number, name: number): number
  /** Makes the next close(2) send RST and drop what is unsent (socket(7), SO_LINGER with a zero time). */
  resetOnClose(fd: number): void
}

export const socketOptions = (libc: Libc): SocketOptions => {
  // int value or struct linger {int onoff; int seconds} at 0, socklen_t at 8.
  const mem = libc.pin(16)
  const words = new Int32Array(mem.bytes.buffer)
  return {
    setInt(fd, level, name, value) {
      words[0] = value
      return libc.setsockopt(fd, level, name, mem.address, 4)
    },
    getInt(fd, level, name) {
      words[2] = 4
      return libc.getsockopt(fd, level, name, mem.address, mem.address + 8) < 0 ? -1 : (words[0] as number)
    },
    resetOnClose(fd) {
      words[0] = 1
      words[1] = 0
      libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, mem.address, 8)
    },
  }
}
