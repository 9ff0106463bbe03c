/** Names of containers, networks and publications. */
import { isIP } from 'node:net'
import { PortctlError } from './errors.ts'

export type Name = string & { readonly __brand: 'Name' }

/** A name is a file under /run/netns, a host name and an argument of our own commands: one DNS label long (RFC 1035 §2.3.4). */
const LONGEST = 63

/** Docker's alphabet for names. @throws `name-invalid` */
export const parseName = (text: string): Name => {
  const refuse = (why: string) => PortctlError.of('name-invalid', { name: text, why })
  if (text === '') throw refuse('it is empty')
  if (text.length > LONGEST) throw refuse(`longer than ${LONGEST} characters`)
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text))
    throw refuse('only letters, digits, _ . - are allowed, and the first must be a letter or a digit')
  if (isIP(text) !== 0) throw refuse('it reads as an IP address')
  return text as Name
}
