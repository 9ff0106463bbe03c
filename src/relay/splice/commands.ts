/**
 * What the engine (main thread) and its data-path threads tell each other.
 *
 * A thread is blocked in epoll_wait and runs no JavaScript event loop, so a command is a message on a MessagePort
 * plus a write to the thread's eventfd; the thread then takes the messages with `receiveMessageOnPort`. Answers
 * come back in order on the same port, one for each command; what a thread has to say unasked comes between them.
 */
import type { MessagePort } from 'node:worker_threads'
import type { ErrorBody } from '../../core/errors.ts'
import type { RelayTarget, ServiceSpec } from '../engine.ts'
import type { SharedCounters } from './services.ts'

interface OpenedService {
  readonly slot: number
  readonly spec: ServiceSpec
  /** Made by the main thread, on shared memory; null: an annex makes its own. */
  readonly listeners: Int32Array | null
}

export type Command =
  | { readonly do: 'open'; readonly services: readonly OpenedService[] }
  | { readonly do: 'close'; readonly slots: readonly number[] }
  | { readonly do: 'retarget'; readonly slot: number; readonly target: RelayTarget | null }
  /** Another thread is full: see what is pending. */
  | { readonly do: 'look' }
  | { readonly do: 'stop' }

/** From a thread: the outcome of its oldest unanswered command; a line for the log; that it became full (tcp-accept.ts). */
export type Answer = { readonly error?: ErrorBody } | { readonly log: string } | { readonly full: true }

/** What a thread is started with (`workerData`). */
export interface WorkerData extends SharedCounters {
  readonly port: MessagePort
  /** eventfd(2) that announces commands. */
  readonly wakeFd: number
  /** The thread holds listeners of its own making, and nobody else watches them (descriptors.ts). */
  readonly annex: boolean
  readonly ceiling: number
}
