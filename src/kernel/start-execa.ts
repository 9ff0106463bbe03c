/**
 * Tools started by execa: where libc cannot be called. It does not tell whether a tool that failed did so before our
 * SIGTERM or upon it, so its exit status is passed on either way.
 */
import { execa } from 'execa'
import { MAX_OUTPUT, type Start } from './start.ts'

/** execa takes any descriptor; its types know of 3 to 9. */
const descriptor = (fd: number): 3 => fd as 3

export const startByExeca: Start = async (command, args, { stdin, inherit, env, signal, timeout }) => {
  const result = await execa(command, args, {
    reject: false,
    // Short-lived tools with a timeout of their own: no exit hook on every signal for each of them.
    cleanup: false,
    // A process group of its own, as in libc/spawn.ts.
    detached: true,
    stdio: [stdin === undefined ? 'ignore' : descriptor(stdin), 'pipe', 'pipe', ...inherit.map(descriptor)],
    ...(signal === undefined ? {} : { cancelSignal: signal }),
    timeout,
    maxBuffer: MAX_OUTPUT,
    stripFinalNewline: false,
    env,
    extendEnv: false,
  })
  const { exitCode, stdout, stderr } = result
  if (result.isMaxBuffer) return { stopped: 'output' }
  if (exitCode !== undefined) return { exitCode, stdout, stderr }
  if (result.timedOut) return { stopped: 'timeout' }
  if (result.isCanceled) return { stopped: 'cancelled' }
  return result.signal === undefined ? { notStarted: result.code ?? 'unknown' } : { killed: result.signal }
}
