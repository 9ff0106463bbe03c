/**
 * The journal's bytes. A record is one line,
 *
 *   LENGTH CRC PAYLOAD\n      LENGTH (bytes of PAYLOAD) and CRC (CRC-32 of PAYLOAD) in 8 hex digits, PAYLOAD in JSON
 *
 * JSON holds no raw newline and no NUL. A record is appended only after the one before it is on disk, so only the last
 * one can be torn by a crash: cut short (no newline at the end), or with blocks that never reached the disk (read as
 * zeros). Whatever else does not decode is damage and never skipped.
 */
import { crc32 } from 'node:zlib'

/** Bytes of `LENGTH CRC `. */
const HEAD = 18
const NEWLINE = 0x0a

export const encodeRecord = (payload: unknown): Buffer => {
  const json = Buffer.from(JSON.stringify(payload))
  const hex = (n: number) => n.toString(16).padStart(8, '0')
  return Buffer.concat([Buffer.from(`${hex(json.length)} ${hex(crc32(json))} `), json, Buffer.from('\n')])
}

interface JournalRecord {
  readonly offset: number
  readonly payload: unknown
}

export interface Journal {
  readonly records: readonly JournalRecord[]
  /** Bytes that hold whole records; what follows is a torn record. */
  readonly length: number
  readonly damage: { readonly offset: number; readonly why: string } | null
}

export const decodeJournal = (bytes: Buffer): Journal => {
  const records: JournalRecord[] = []
  let offset = 0
  while (offset < bytes.length) {
    const end = bytes.indexOf(NEWLINE, offset)
    const payload = end === -1 ? undefined : decodeLine(bytes.subarray(offset, end))
    if (payload === undefined) {
      const damage = isTorn(bytes.subarray(offset)) ? null : { offset, why: 'the record fails its checksum' }
      return { records, length: offset, damage }
    }
    records.push({ offset, payload })
    offset = end + 1
  }
  return { records, length: offset, damage: null }
}

/** undefined: not a whole record (a payload is never undefined). */
const decodeLine = (line: Buffer): unknown => {
  const head = /^([0-9a-f]{8}) ([0-9a-f]{8}) $/.exec(line.toString('latin1', 0, HEAD))
  const json = line.subarray(HEAD)
  if (head === null || Number.parseInt(head[1] as string, 16) !== json.length) return undefined
  if (Number.parseInt(head[2] as string, 16) !== crc32(json)) return undefined
  return JSON.parse(json.toString('utf8'))
}

/** `tail` begins with a line that is no record. */
const isTorn = (tail: Buffer): boolean => {
  if (tail.at(-1) === NEWLINE && !tail.includes(0)) return false
  for (let at = tail.indexOf(NEWLINE); at !== -1; at = tail.indexOf(NEWLINE, at + 1)) {
    const end = tail.indexOf(NEWLINE, at + 1)
    if (end !== -1 && decodeLine(tail.subarray(at + 1, end)) !== undefined) return false
  }
  return true
}
