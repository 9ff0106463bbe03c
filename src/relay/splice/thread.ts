/** The engine's side of one data-path thread: starts it, sends it commands, takes its answers in order. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { PortctlError } from '../../core/errors.ts'
import { EFD_CLOEXEC, EFD_NONBLOCK, errnoName, type Libc } from '../../kernel/libc/index.ts'
import type { Answer, Command, WorkerData } from './commands.ts'
import { COUNTERS, MAX_SERVICES, type SharedCounters } from './services.ts'

export interface DataThread {
  /** The thread's counters (services.ts), readable at any time. */
  readonly counters: Float64Array
  /** Resolves when the thread has obeyed. */
  send(command: Command): Promise<void>
  /** Has the thread look for pending connections, unless it is ending. */
  look(): void
  /** Ends the thread; its services must be closed. */
  stop(): Promise<void>
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export interface ThreadOptions {
  readonly workerFile: string
  readonly shared: Pick<SharedCounters, 'active' | 'published' | 'passages' | 'udpPassages'>
  readonly ceiling: number
  readonly log: (line: string) => void
}

/** A thread that dies unasked is an uncaught 'error' of this process: half a data path must not go on. */
export const startThread = (
  libc: Libc,
  annex: boolean,
  options: ThreadOptions,
  full: () => void = () => undefined,
): DataThread => {
  const { workerFile, shared, ceiling, log } = options
  const wakeFd = libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
  if (wakeFd < 0)
    throw PortctlError.of('syscall-failed', {
      call: 'eventfd',
      subject: 'data-path thread',
      errno: errnoName(libc.errno()),
    })
  const one = libc.pin(8)
  one.bytes[0] = 1
  const counters = new SharedArrayBuffer(MAX_SERVICES * COUNTERS * Float64Array.BYTES_PER_ELEMENT)
  const { port1, port2 } = new MessageChannel()
  const data: WorkerData = { ...shared, port: port2, wakeFd, counters, annex, ceiling }
  const worker = new Worker(workerFile, { workerData: data, transferList: [port2] })
  const ended = new Promise<void>(resolve => worker.once('exit', () => resolve()))

  const waiting: Waiting[] = []
  port1.on('message', (answer: Answer) => {
    if ('log' in answer) log(answer.log)
    else if ('full' in answer) full()
    else if (answer.error === undefined) waiting.shift()?.resolve()
    else waiting.shift()?.reject(PortctlError.from(answer.error))
  })

  const post = (command: Command): void => {
    port1.postMessage(command)
    libc.write(wakeFd, one.address, 8)
  }
  // Node joins its threads when the process ends, and would wait for ever for one that is blocked in epoll_wait.
  const atExit = (): void => post({ do: 'stop' })
  process.once('exit', atExit)

  const send = (command: Command): Promise<void> =>
    new Promise((resolve, reject) => {
      waiting.push({ resolve, reject })
      post(command)
    })

  let ending = false
  const look = (): void => {
    if (!ending) send({ do: 'look' }).catch(error => log(String(error)))
  }

  const stop = async (): Promise<void> => {
    ending = true
    await send({ do: 'stop' })
    await ended
    process.removeListener('exit', atExit)
    closePort(port1)
    libc.close(wakeFd)
  }

  return { counters: new Float64Array(counters), send, look, stop }
}

const closePort = (port: MessagePort): void => {
  port.removeAllListeners()
  port.close()
}
