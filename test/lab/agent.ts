/** Client of `agent.mjs`: one per namespace, started when first needed. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const AGENT = fileURLToPath(new URL('agent.mjs', import.meta.url))

interface Place {
  readonly address: string
  readonly port: number
}

export interface ServerSpec {
  readonly kind: 'who' | 'echo' | 'http' | 'udp'
  /** Address to listen on; IPv6 sockets are V6ONLY. */
  readonly host: string
  /** 0 or absent: any free one. */
  readonly port?: number
  /** Told to every client. */
  readonly name?: string
}

export interface Question {
  readonly protocol: 'tcp' | 'udp' | 'http'
  readonly host: string
  readonly port: number
  /** One character a byte (latin1); for `http` the path. */
  readonly payload?: string
  readonly from?: Partial<Place>
  /** Milliseconds; `ETIMEDOUT` after them. */
  readonly timeout?: number
}

export interface Answer {
  readonly reply: string
  readonly local?: Place
  /** UDP: where the answer came from. */
  readonly peer?: Place
}

/** What `who`, `http` and `udp` servers say; parse with `JSON.parse(reply)`. */
export interface Greeting {
  readonly name: string
  readonly peer: Place
  readonly local: Place
  readonly data: string
}

/** argv of a process that serves until it is killed. */
export const serverCommand = (...specs: readonly ServerSpec[]): readonly string[] => [
  process.execPath,
  AGENT,
  'serve',
  JSON.stringify(specs),
]

type Waiting = { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }

export class Agent {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #waiting = new Map<number, Waiting>()
  #next = 1
  #stderr = ''

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
    child.stderr.on('data', chunk => {
      this.#stderr += String(chunk)
    })
    child.stdin.on('error', () => undefined)
    child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`agent ended: ${this.#stderr}`))
    })
    createInterface({ input: child.stdout }).on('line', line => {
      const { id, result, error } = JSON.parse(line) as { id: number; result: unknown; error?: string }
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(result)
      else waiting?.reject(Object.assign(new Error(error), { code: error }))
    })
  }

  call<T>(op: string, options: object): Promise<T> {
    const id = this.#next++
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
      this.#child.stdin.write(`${JSON.stringify({ id, op, ...options })}\n`)
    })
  }
}
