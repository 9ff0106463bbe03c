/** Where things are; the arguments come from run.mjs. */
import { join } from 'node:path'

const [root, work] = process.argv.slice(2)
if (root === undefined || work === undefined) throw new Error('start the bench with: npm run bench')

export const paths = {
  root,
  /** Scratch on a real disk, removed by run.mjs. */
  work,
  bundles: join(root, 'node_modules/.cache/portctl-bench'),
  results: join(root, 'bench/results'),
  portctl: join(root, 'bin/portctl'),
} as const
