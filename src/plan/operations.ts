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

/** What is wanted after the changes. */
export const applyAll = (state: Desired, operations: readonly Operation[]): Desired => {
  const forwards = new Map(state.forwards.map(forward => [forward.publication, forward]))
  const networks = new Map(state.networks.map(net => [net.bridge, net]))
  let { opened } = state
  for (const operation of operations) {
    switch (operation.op) {
      case 'add-forward':
        forwards.set(operation.forward.publication, operation.forward)
        break
      case 'remove-forward':
        forwards.delete(operation.forward.publication)
        break
      case 'add-network':
        networks.set(operation.net.bridge, operation.net)
        break
      case 'remove-network':
        networks.delete(operation.net.bridge)
        break
      case 'set-opened':
        opened = operation.after
        break
      default:
        operation satisfies never
    }
  }
  return { forwards: [...forwards.values()], networks: [...networks.values()], opened }
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
