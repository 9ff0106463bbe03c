/**
 * The agents of the portable engine (agent.ts), one for each network namespace in use.
 *
 * Life cycle: started with nsenter(1) by the first connection that needs it, ended when it has not been needed for a
 * minute or at shutdown. When an agent dies, the requests under way go to another one, once. The path
 * of a namespace can come to mean another namespace (a container made anew, a pid given to another process), so an agent is
 * used only while the path's inode is the one it was started with, and enters what was opened to look at that.
 *
 * Limits: one socket is passed at a time (Node waits for each to be acknowledged), some thousands a second.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket as UdpSocket } from 'node:dgram'
import { closeSync, fstatSync, openSync } from 'node:fs'
import type { Socket } from 'node:net'
import { isRunning, type ProcessRef } from '../../core/process-identity.ts'
import type { AgentRequest, AgentResponse } from './agent.ts'

export type Dialled<T> = { readonly made: T } | { readonly errno: string }

/** Stops an attempt that is under way; its outcome is not reported any more. */
export type Cancel = () => void

/** AgentRequest without its id. */
export type AgentJob = AgentRequest extends infer R
  ? R extends { id: number }
    ? Omit<R, 'id'>
    : never
  : never

export interface Place {
  readonly netns: string
  /** As in RelayTarget. */
  readonly process?: ProcessRef | undefined
}

const AGENT_DIED = 'ECHILD'

/** Of an agent: after stdin, stdout, stderr and the IPC channel. */
const NAMESPACE_FD = 4

/** Milliseconds. */
const IDLE = 60_000

class Agent {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (outcome: Dialled<Socket & UdpSocket>) => void>()
  readonly #idle: NodeJS.Timeout
  readonly inode: bigint
  #lastId = 0

  constructor(namespace: number, inode: bigint, program: string, ended: () => void) {
    this.inode = inode
    this.#child = spawn(
      'nsenter',
      [`--net=/proc/self/fd/${NAMESPACE_FD}`, '--', process.execPath, program, '--agent'],
      {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc', namespace],
      },
    )
    this.#idle = setTimeout(() => this.end(), IDLE)
    const gone = (): void => {
      clearTimeout(this.#idle)
      ended()
      for (const report of this.#waiting.values()) report({ errno: AGENT_DIED })
      this.#waiting.clear()
    }
    this.#child.once('exit', gone)
    this.#child.once('error', gone)
    this.#child.on('message', (response: AgentResponse, socket) => {
      const report = this.#waiting.get(response.id)
      this.#waiting.delete(response.id)
      const made = socket as unknown as (Socket & UdpSocket) | undefined
      if (made === undefined) report?.({ errno: response.error ?? AGENT_DIED })
      else if (report !== undefined) report({ made })
      else if ('destroy' in made) made.destroy()
      else (made as UdpSocket).close()
    })
  }

  ask(job: AgentJob, report: (outcome: Dialled<Socket & UdpSocket>) => void): Cancel {
    const id = ++this.#lastId
    this.#idle.refresh()
    this.#waiting.set(id, report)
    this.#send({ ...job, id } as AgentRequest)
    return () => {
      if (this.#waiting.delete(id)) this.#send({ id, kind: 'cancel' })
    }
  }

  end(): void {
    clearTimeout(this.#idle)
    if (this.#child.connected) this.#child.disconnect()
  }

  #send(request: AgentRequest): void {
    // A channel that broke is followed by 'exit', which reports the failure.
    if (this.#child.connected) this.#child.send(request, () => undefined)
  }
}

/** Undefined when the namespace can't be looked at: gone, or not ours to see. */
const openNamespace = ({ netns, process }: Place): number | undefined => {
  try {
    const fd = openSync(netns, 'r')
    if (process === undefined || isRunning(process)) return fd
    closeSync(fd)
    return undefined
  } catch {
    return undefined
  }
}

export class Agents {
  readonly #program: string
  readonly #agents = new Map<string, Agent>()

  /** `program`: path of dist/relay.cjs. */
  constructor(program: string) {
    this.#program = program
  }

  connect(place: Place, address: string, port: number, report: (outcome: Dialled<Socket>) => void): Cancel {
    return this.#ask(place, { kind: 'tcp', address, port }, report)
  }

  bind(place: Place, family: 4 | 6, report: (outcome: Dialled<UdpSocket>) => void): Cancel {
    return this.#ask(place, { kind: 'udp', family }, report)
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.end()
  }

  #ask(
    place: Place,
    job: AgentJob,
    report: (outcome: Dialled<Socket & UdpSocket>) => void,
    again = true,
  ): Cancel {
    const namespace = openNamespace(place)
    if (namespace === undefined) {
      const soon = setImmediate(report, { errno: 'ENOENT' })
      return () => clearImmediate(soon)
    }
    const agent = this.#agent(place.netns, namespace)
    closeSync(namespace)
    let cancel = agent.ask(job, outcome => {
      if (again && 'errno' in outcome && outcome.errno === AGENT_DIED)
        cancel = this.#ask(place, job, report, false)
      else report(outcome)
    })
    return () => cancel()
  }

  #agent(netns: string, namespace: number): Agent {
    const inode = fstatSync(namespace, { bigint: true }).ino
    const known = this.#agents.get(netns)
    if (known?.inode === inode) return known
    known?.end()
    const agent = new Agent(namespace, inode, this.#program, () => {
      if (this.#agents.get(netns) === agent) this.#agents.delete(netns)
    })
    this.#agents.set(netns, agent)
    return agent
  }
}
