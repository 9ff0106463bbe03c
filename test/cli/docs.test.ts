import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cliPage, errorsPage } from '../../src/cli/docs.ts'

const page = (name: string): string => join(import.meta.dirname, '../../docs', name)

/** When one fails: `npm run docs`, and look at the difference. */
describe('generated pages are what the tables say', () => {
  it('docs/CLI.md', async () => {
    await expect(cliPage()).toMatchFileSnapshot(page('CLI.md'))
  })

  it('docs/errors.md', async () => {
    await expect(errorsPage()).toMatchFileSnapshot(page('errors.md'))
  })
})
