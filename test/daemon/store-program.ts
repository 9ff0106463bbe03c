/**
 * A process with a store of its own, for store-process.test.ts, which bundles it.
 *   fill DIR   DIR is a small file system: fills it, then makes room; prints what happened as JSON
 *   loop DIR   commits for ever, prints each number once it is acknowledged
 */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PortctlError } from '../../src/core/errors.ts'
import { openStore } from '../../src/daemon/store.ts'

/** One that needs more than a page of the disk. */
const value = (n: number) => ({ n, padding: 'x'.repeat(8192) })

const fill = async (dir: string): Promise<void> => {
  writeFileSync(join(dir, 'ballast'), Buffer.alloc(128 * 1024))
  const store = await openStore(dir)
  let acknowledged = 0
  let failure: unknown
  while (failure === undefined) {
    await store.commit([{ put: 'meta', id: `${acknowledged}`, value: value(acknowledged) }]).then(
      () => acknowledged++,
      (error: unknown) => {
        failure = error
      },
    )
  }
  const afterFailure = store.state.meta.size
  const reopened = (await openStore(dir)).state.meta.size
  rmSync(join(dir, 'ballast'))
  await store.commit([{ put: 'meta', id: 'after', value: true }])
  const atEnd = [...(await openStore(dir)).state.meta.keys()]
  const error = failure instanceof PortctlError ? { ...failure.toJSON(), http: failure.http } : `${failure}`
  process.stdout.write(JSON.stringify({ acknowledged, afterFailure, reopened, atEnd, error }))
}

const loop = async (dir: string): Promise<void> => {
  const store = await openStore(dir)
  for (let n = store.state.meta.size; ; n++) {
    await store.commit([{ put: 'meta', id: `${n}`, value: value(n) }])
    process.stdout.write(`${n}\n`)
  }
}

const [what, dir] = process.argv.slice(2)
void (what === 'fill' ? fill : loop)(dir as string)
