/**
 * libc over FFI: the socket calls that Node does not offer, for the splice data path. koffi is an optional
 * prebuilt binary; where it cannot load, `loadLibc` rejects with `libc-unavailable` and nothing else of this
 * room works, so callers fall back to the portable engine.
 */
import { PortctlError } from '../../core/errors.ts'
import { bindLibc, type Libc } from './bindings.ts'

export type { Libc } from './bindings.ts'
export * from './constants.ts'
export * from './errno.ts'
export type { Pinned } from './memory.ts'
export * from './sockaddr.ts'
export { type SocketOptions, socketOptions } from './sockopt.ts'

let loaded: Promise<Libc> | undefined

/** The calling thread's libc, loaded on first use. */
export const loadLibc = (): Promise<Libc> => {
  loaded ??= load()
  return loaded
}

const load = async (): Promise<Libc> => {
  if (process.platform !== 'linux' || !['x64', 'arm64', 'riscv64'].includes(process.arch))
    throw PortctlError.of('libc-unavailable', {
      why: `${process.platform}/${process.arch} is not 64-bit Linux`,
    })
  try {
    return bindLibc((await import('koffi')).default)
  } catch (cause) {
    throw PortctlError.of('libc-unavailable', { why: (cause as Error).message }, { cause })
  }
}
