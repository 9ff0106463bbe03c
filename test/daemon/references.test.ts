import { expect, it } from 'vitest'
import { findPublications, lookUpPublications } from '../../src/daemon/references.ts'
import type { Publication } from '../../src/model/index.ts'

const publication = (id: string, name: string | null = null): Publication => ({
  id,
  name,
  protocol: 'tcp',
  hostIps: ['0.0.0.0'],
  hostPort: 8080,
  hostPortEnd: 8080,
  target: { kind: 'address', address: '127.0.0.1' },
  targetPort: 80,
  targetPortEnd: 80,
  via: 'auto',
})
const [first, second] = [publication('aaaa00000000', 'web'), publication('aaaa11111111')]

class Untouched extends Map<string, Publication> {
  override values(): never {
    throw new Error('all publications were looked at')
  }
}

it('finds an id without looking at the others', () => {
  const all = new Untouched([[first.id, first]])
  expect(findPublications(first.id, all)).toEqual([first])
})

it.each([
  ['web', [first]],
  ['8080:80', [first, second]],
  ['aaaa1', [second]],
  ['aaaa', []],
  ['nobody', []],
])('%s', (ref, found) => {
  const all = new Map([first, second].map(p => [p.id, p]))
  expect(lookUpPublications(ref, all)).toEqual(found)
  if (found.length === 0) expect(() => findPublications(ref, all)).toThrow(`no publication '${ref}'`)
})
