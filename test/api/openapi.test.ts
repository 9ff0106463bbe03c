import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openApiDocument } from '../../src/api/openapi.ts'
import { ROUTES } from '../../src/api/routes.ts'

const FILE = join(import.meta.dirname, '../../docs/openapi.json')

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string }>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, unknown>>
  }
}
const committed = (): Document => JSON.parse(readFileSync(FILE, 'utf8')) as Document

describe('docs/openapi.json', () => {
  // Written anew by `npx vitest run test/api/openapi.test.ts --update`.
  it('is what the route table makes', async () => {
    await expect(`${JSON.stringify(openApiDocument(), null, 2)}\n`).toMatchFileSnapshot(FILE)
  })

  it('has the routes that there are, all of them and no other', () => {
    const documented = Object.entries(committed().paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(
        ([method, { operationId }]) => `${operationId}: ${method.toUpperCase()} ${path}`,
      ),
    )
    const served = Object.entries(ROUTES).map(
      ([name, { method, path }]) => `${name}: ${method} ${path.replace(/:(\w+)/g, '{$1}')}`,
    )
    expect(documented.sort()).toEqual(served.sort())
  })

  it('refers to nothing that it lacks', () => {
    const { components, paths } = committed()
    const references = JSON.stringify({ components, paths }).matchAll(/"\$ref":"([^"]*)"/g)
    for (const [, target] of references) {
      expect(Object.keys(components.schemas).map(id => `#/components/schemas/${id}`)).toContain(target)
    }
  })
})
