/** The laboratory for vitest: one for the whole file or `describe`, gone afterwards. */
import { afterAll, beforeAll } from 'vitest'
import { createLab, type Lab } from './lab.ts'

export const useLab = (options?: Parameters<typeof createLab>[0]): (() => Lab) => {
  let lab: Lab | undefined
  beforeAll(async () => {
    lab = await createLab(options)
  })
  afterAll(() => lab?.dispose())
  return () => {
    if (lab === undefined) throw new Error('the laboratory exists only inside tests and hooks')
    return lab
  }
}
