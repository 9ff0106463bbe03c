/**
 * Transactions for `nft -j -f -`. Each list of commands given here is meant to be applied as one transaction, on a
 * kernel that either has it all afterwards or is as it was.
 */
import { createHash } from 'node:crypto'
import { chainCommands } from './chains.ts'
import { type Element, elementsOf, ofForward, ofNetwork, ofOpened } from './elements.ts'
import type { Desired, Operation } from './index.ts'
import { add, type Json, type NftCommand, remove, TABLE } from './nftables.ts'
import { declarations, type SetName } from './sets.ts'

/** All that does not change while a daemon runs. */
const FRAME: readonly NftCommand[] = [...declarations(), ...chainCommands()]

/** Name of an empty chain that says which frame it is: a table made by another version is told by it. */
export const LAYOUT = `layout_${createHash('sha256').update(JSON.stringify(FRAME)).digest('hex').slice(0, 12)}`

/** The empty table. */
const skeleton = (): readonly NftCommand[] => [
  { add: { table: TABLE } },
  ...FRAME,
  add('chain', { name: LAYOUT }),
]

/** The whole table in place of whatever was there, with no moment in between. Counters start at zero. */
export const replaceTable = (desired: Desired): readonly NftCommand[] => [
  // Deleting a table that is not there fails; adding one that is does not.
  { add: { table: TABLE } },
  { delete: { table: TABLE } },
  ...skeleton(),
  ...addElements(elementsOf(desired)),
]

/**
 * The least change of elements. One that goes and comes back as it was stays, and keeps its counters: a publication
 * that moves to another container goes on counting its bytes.
 *
 * Adding an element whose key is there with another value fails, and the transaction with it ("File exists").
 */
export const commands = (operations: readonly Operation[]): readonly NftCommand[] => {
  const before = new Map<string, Element>()
  const after = new Map<string, Element>()
  const meet = (wanted: boolean, element: Element): void => {
    const id = identity(element)
    if (!wanted && !after.delete(id)) before.set(id, element)
    if (wanted) after.set(id, element)
  }
  for (const operation of operations)
    for (const [wanted, element] of changes(operation)) meet(wanted, element)
  const gone = [...before.values()].filter(element => !after.has(identity(element)))
  const come = [...after.values()].filter(element => !before.has(identity(element)))
  return [...removeElements(gone), ...addElements(come)]
}

const wanted = (elements: readonly Element[]) => elements.map(element => [true, element] as const)
const unwanted = (elements: readonly Element[]) => elements.map(element => [false, element] as const)

const changes = (operation: Operation): readonly (readonly [boolean, Element])[] => {
  switch (operation.op) {
    case 'add-forward':
      return wanted(ofForward(operation.forward))
    case 'remove-forward':
      return unwanted(ofForward(operation.forward))
    case 'add-network':
      return wanted(ofNetwork(operation.net))
    case 'remove-network':
      return unwanted(ofNetwork(operation.net))
    case 'set-opened':
      return [...unwanted(ofOpened(operation.before)), ...wanted(ofOpened(operation.after))]
    default:
      return operation satisfies never
  }
}

/** All that an element is, as text. */
export const identity = ({ set, key, value, owner }: Element): string =>
  JSON.stringify([set, key, value, owner])

const bySet = (elements: readonly Element[]): ReadonlyMap<SetName, readonly Element[]> => {
  const groups = new Map<SetName, Element[]>()
  for (const element of elements) {
    const group = groups.get(element.set)
    if (group === undefined) groups.set(element.set, [element])
    else group.push(element)
  }
  return groups
}

const toJson = ({ key, value, owner }: Element): Json => {
  const left: Json = owner === undefined ? key : { elem: { val: key, comment: owner } }
  return value === undefined ? left : [left, value]
}

export const addElements = (elements: readonly Element[]): readonly NftCommand[] =>
  [...bySet(elements)].map(([name, group]) => add('element', { name, elem: group.map(toJson) }))

export const removeElements = (elements: readonly Element[]): readonly NftCommand[] =>
  [...bySet(elements)].map(([name, group]) => remove('element', { name, elem: group.map(toJson) }))
