/** Starts agents and speaks to them; they are kept, one a namespace unless descriptors ask for more. */
import { join } from 'node:path'
import type { Agent, Reply, Request } from '../agent/protocol.ts'
import { paths } from '../lab/paths.ts'
import { type Netns, start } from '../lab/process.ts'

const METHODS = ['echo', 'hold', 'release', 'firstByte', 'reach', 'rate'] as const satisfies (keyof Agent)[]
const agents = new Map<string, Agent>()

export const agentIn = (netns: Netns, number = 0): Agent => {
  const name = `${netns.path} ${number}`
  const already = agents.get(name)
  if (already !== undefined) return already
  const agent = startAgent(netns)
  agents.set(name, agent)
  return agent
}

const startAgent = (netns: Netns): Agent => {
  const { child } = start(netns, ['node', join(paths.bundles, 'agent.cjs')], { extraFds: ['ipc'] })
  const pending = new Map<number, (reply: Reply) => void>()
  let next = 0
  child.on('message', (reply: Reply) => {
    pending.get(reply.id)?.(reply)
    pending.delete(reply.id)
  })
  child.once('exit', () => {
    for (const [id, settle] of pending) settle({ id, error: 'the agent is gone' })
  })
  const call = async (method: keyof Agent, parameters: unknown): Promise<unknown> => {
    const request: Request = { id: next++, method, parameters }
    const reply = await new Promise<Reply>(resolve => {
      pending.set(request.id, resolve)
      child.send(request)
    })
    if ('error' in reply) throw new Error(`${method} in ${netns.path}: ${reply.error}`)
    return reply.result
  }
  const methods = METHODS.map(method => [method, (parameters: unknown) => call(method, parameters)])
  return Object.fromEntries(methods) as Agent
}
