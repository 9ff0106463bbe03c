/** The algebra of changes: every operation has an inverse, and two states have a shortest way between them. */
import { isDeepStrictEqual } from 'node:util'
import type { Desired, Operation } from './index.ts'

export const invert = (operation: Operation): Operation => {
  switch (operation.op) {
    case 'add-forward':
      return { op: 'remove-forward', forward: operation.forward }
    case 'remove-forward':
      return { op: 'add-forward', forward: operation.forward }
    case 'add-network':
      return { op: 'remove-network', net: operation.net }
    case 'remove-network':
      return { op: 'add-network', net: operation.net }
    case 'set-opened':
      return { op: 'set-opened', before: operation.after, after: operation.before }
    default:
      return operation satisfies never
  }
}

/** What is wanted after the change. */
export const apply = (state: Desired, operation: Operation): Desired => {
  switch (operation.op) {
    case 'add-forward':
      return { ...state, forwards: [...state.forwards, operation.forward] }
    case 'remove-forward': {
      const { publication } = operation.forward
      return { ...state, forwards: state.forwards.filter(f => f.publication !== publication) }
    }
    case 'add-network':
      return { ...state, networks: [...state.networks, operation.net] }
    case 'remove-network':
      return { ...state, networks: state.networks.filter(n => n.bridge !== operation.net.bridge) }
    case 'set-opened':
      return { ...state, opened: operation.after }
    default:
      return operation satisfies never
  }
}

/** Items of `a` that `b` has not, or has otherwise. */
const without = <T>(a: readonly T[], b: readonly T[], key: (item: T) => string): readonly T[] => {
  const known = new Map(b.map(item => [key(item), item]))
  return a.filter(item => !isDeepStrictEqual(item, known.get(key(item))))
}

/** Removals first, so that a port or a bridge can pass from one owner to the next. */
export const diff = (before: Desired, after: Desired): readonly Operation[] => {
  const forwards = (a: Desired, b: Desired) => without(a.forwards, b.forwards, f => f.publication)
  const networks = (a: Desired, b: Desired) => without(a.networks, b.networks, n => n.bridge)
  return [
    ...forwards(before, after).map(forward => ({ op: 'remove-forward' as const, forward })),
    ...networks(before, after).map(net => ({ op: 'remove-network' as const, net })),
    ...networks(after, before).map(net => ({ op: 'add-network' as const, net })),
    ...forwards(after, before).map(forward => ({ op: 'add-forward' as const, forward })),
    ...(isDeepStrictEqual(before.opened, after.opened)
      ? []
      : [{ op: 'set-opened' as const, before: before.opened, after: after.opened }]),
  ]
}
