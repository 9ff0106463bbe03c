/** What a run yields, as written to bench/results/latest.json. A run of some cases replaces those and keeps the rest. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Metric } from '../cases/case.ts'
import { paths } from '../lab/paths.ts'
import type { Measured } from '../rounds.ts'

export interface CaseResult {
  readonly name: string
  readonly title: string
  readonly method: string
  readonly command: string
  readonly at: string
  readonly seconds: number
  readonly metrics: Readonly<Record<string, Metric>>
  readonly axis?: string
  readonly measured: readonly Measured[]
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memory: string
  readonly kernel: string
  readonly node: string
  readonly programs: Readonly<Record<string, string>>
}

export interface Results {
  readonly machine: Machine
  readonly cases: readonly CaseResult[]
}

const file = join(paths.results, 'latest.json')

export const readResults = async (): Promise<Results | null> => {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Results
  } catch {
    return null
  }
}

/** Gives what a later run will read: what is drawn from it now and what is drawn then must be the same. */
export const writeResults = async (results: Results): Promise<Results> => {
  await mkdir(paths.results, { recursive: true })
  const text = `${JSON.stringify(results, rounded, 1)}\n`
  await writeFile(file, text)
  return JSON.parse(text) as Results
}

/** Four significant digits: more is noise in the file's history. */
const rounded = (_key: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
