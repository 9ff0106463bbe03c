import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeJournal, encodeRecord } from '../../src/daemon/store-journal.ts'

const payloads = fc.array(fc.jsonValue(), { minLength: 1, maxLength: 6 })
const journalOf = (values: readonly unknown[]) => Buffer.concat(values.map(encodeRecord))
/** JSON has no -0. */
const asJson = (values: readonly unknown[]): unknown => JSON.parse(JSON.stringify(values))

describe('the journal', () => {
  it('gives back what was put in', () => {
    fc.assert(
      fc.property(payloads, values => {
        const bytes = journalOf(values)
        const journal = decodeJournal(bytes)
        expect(journal.records.map(record => record.payload)).toEqual(asJson(values))
        expect(journal.length).toBe(bytes.length)
        expect(journal.damage).toBeNull()
      }),
    )
  })

  it('cut anywhere, gives back the records before the cut', () => {
    fc.assert(
      fc.property(payloads, values => {
        const bytes = journalOf(values)
        const ends = values.map((_, index) => journalOf(values.slice(0, index + 1)).length)
        for (let cut = 0; cut <= bytes.length; cut++) {
          const journal = decodeJournal(bytes.subarray(0, cut))
          const whole = ends.filter(end => end <= cut)
          expect(journal).toMatchObject({ length: whole.at(-1) ?? 0, damage: null })
          expect(journal.records).toHaveLength(whole.length)
        }
      }),
      { numRuns: 30 },
    )
  })

  it('takes a last record with blocks of zeros for torn', () => {
    fc.assert(
      fc.property(payloads, fc.nat(), fc.integer({ min: 1, max: 64 }), (values, at, length) => {
        const before = journalOf(values.slice(0, -1))
        const last = journalOf(values.slice(-1))
        const from = at % last.length
        last.fill(0, from, Math.min(from + length, last.length))
        expect(decodeJournal(Buffer.concat([before, last, Buffer.alloc(16)]))).toMatchObject({
          length: before.length,
          damage: null,
        })
      }),
    )
  })

  it('never takes a flipped bit of a whole record for anything but damage, and says where', () => {
    fc.assert(
      fc.property(payloads, fc.nat(), fc.integer({ min: 0, max: 7 }), (values, where, bit) => {
        const bytes = journalOf(values)
        // The last newline is the one bit of evidence that the last record was whole.
        const at = where % (bytes.length - 1)
        bytes[at] = (bytes[at] as number) ^ (1 << bit)
        fc.pre(bytes[at] !== 0)
        const { damage, records } = decodeJournal(bytes)
        const starts = values.map((_, index) => journalOf(values.slice(0, index)).length)
        const hit = starts.findLastIndex(start => start <= at)
        expect(damage?.offset).toBe(starts[hit])
        expect(records).toHaveLength(hit)
      }),
    )
  })

  it('takes zeros before a whole record for damage', () => {
    const [first, second, third] = ['one', 'two', 'three'].map(encodeRecord) as [Buffer, Buffer, Buffer]
    const bytes = Buffer.concat([first, Buffer.alloc(second.length - 1), Buffer.from('\n'), third])
    expect(decodeJournal(bytes).damage?.offset).toBe(first.length)
  })
})
