/** Whether this host has a route to an address: `ip route get` (ip-route(8)) asks the kernel itself. */
import { PortctlError } from '../core/errors.ts'
import { type Execute, firstLine, execute as onHost } from './process.ts'

/** @throws `target-unreachable` with the kernel's reason */
export const requireRoute = async (address: string, execute: Execute = onHost): Promise<void> => {
  const { exitCode, stdout, stderr } = await execute('ip', ['route', 'get', address])
  const refused = /^(unreachable|blackhole|prohibit)/.exec(stdout)?.[1]
  if (exitCode === 0 && refused === undefined) return
  const why = refused ?? firstLine(stderr).replace(/^RTNETLINK answers: /, '')
  throw PortctlError.of('target-unreachable', { target: address, why: why.toLowerCase() })
}
