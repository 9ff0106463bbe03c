/** The agent: started inside a namespace, does what it is asked until the bench goes away. */
import type { Server } from 'node:net'
import { echo, firstByte, hold, release, serveEcho } from './echo.ts'
import type { Agent, Reply, Request } from './protocol.ts'
import { rate } from './rate.ts'
import { reach } from './reach.ts'

const agent: Agent = { echo, hold, release, firstByte, reach, rate }

const answer = async ({ id, method, parameters }: Request): Promise<Reply> => {
  try {
    return { id, result: await agent[method](parameters as never) }
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

// A listening socket comes from another agent, which shares its port (echo.ts).
process.on('message', (request: Request, socket?: Server) => {
  if (socket !== undefined) {
    serveEcho(socket)
    return
  }
  void answer(request).then(reply => process.send?.(reply))
})
process.on('disconnect', () => process.exit(0))
