/** A system call's failure in the kernel's words: `no space left on device`, not `ENOSPC: no space left on device, write`. */
import { getSystemErrorMap } from 'node:util'

export const describeFault = (cause: unknown): string => {
  const { errno, message } = cause as { readonly errno?: number; readonly message?: string }
  const known = errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]
  return known ?? message ?? String(cause)
}
