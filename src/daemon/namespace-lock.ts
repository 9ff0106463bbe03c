/**
 * One privileged daemon per network namespace: the nftables table, the bridges and the marks on links have one name
 * each, so a second daemon beside the first would take its network for leftovers and remove it.
 *
 * The lock is an abstract unix socket: such names live in the network namespace itself (unix(7)), leave no file, and
 * are free again however the holder ends. Whoever connects is told the holder's pid.
 */
import { connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { PortctlError } from '../core/errors.ts'
import type { Lock } from './lock.ts'

const NAME = '\0portctl'

/** @throws `namespace-served` */
export const lockNamespace = async (): Promise<Lock> => {
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.end(`${process.pid}\n`)
  })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(NAME, resolve)
    })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause
    throw PortctlError.of('namespace-served', { pid: await holder() }, { cause })
  }
  // It must not keep a process that has nothing else to do.
  server.unref()
  return { release: () => new Promise(resolve => void server.close(() => resolve())) }
}

/** null: it ended meanwhile, or is none of ours. */
const holder = async (): Promise<number | null> => {
  const said = await text(connect(NAME)).catch(() => '')
  return /^\d+\n$/.test(said) ? Number(said) : null
}
