/** The rules of docs/ARCHITECTURE.md that a machine can check. The arrows are read from its table, so they cannot drift. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { build } from 'esbuild'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const LONGEST_FILE = 400

/** The value imports of these modules, and who may have them with what reason. Files or folders under src/. */
const RESTRICTED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'node:child_process': {
    'api/autostart.ts': 'starts the daemon in the background',
    'cli/launch.ts': 'runs the foreground command on our own stdin and stdout',
    'daemon/container-process.ts': 'runs detached commands that outlive the daemon',
    'relay/client.ts': 'starts the relay process, which outlives the daemon',
    'relay/node/agents.ts': 'holds one process a namespace, because node:net cannot change namespaces',
  },
  execa: { 'kernel/start-execa.ts': 'starts helper programs where libc cannot be called' },
  koffi: { 'kernel/libc/': 'the seam to libc' },
  'ipaddr.js': { 'core/address.ts': 'the one parser of addresses' },
  commander: { 'cli/parse.ts': 'the one parser of the command line' },
  zod: {
    'model/schema.ts': 'schemas at the edge',
    'api/schemas.ts': 'schemas at the edge',
    'api/openapi.ts': 'the same as a document',
    'daemon/': 'schemas at the edge',
  },
  fastify: { 'daemon/': 'the API server' },
  pino: { 'daemon/': 'the log', 'relay/main.ts': 'the log' },
}

interface Import {
  readonly from: string
  readonly typeOnly: boolean
}

interface Source {
  /** Relative to src/. */
  readonly path: string
  readonly room: string
  readonly lines: number
  readonly imports: readonly Import[]
}

const IMPORT =
  /^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\('([^']+)'\)/gm

const readSource = (path: string): Source => {
  const text = readFileSync(join(ROOT, 'src', path), 'utf8')
  return {
    path,
    room: path.split('/')[0] as string,
    lines: text.split('\n').length - 1,
    imports: [...text.matchAll(IMPORT)].map(([, type, from, bare, dynamic]) => ({
      from: (from ?? bare ?? dynamic) as string,
      typeOnly: type !== undefined,
    })),
  }
}

const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter(path => path.endsWith('.ts'))
  .map(readSource)

/** Room → what its imports may begin with, relative to src/. */
const readArrows = (): ReadonlyMap<string, readonly string[]> => {
  const table = readFileSync(join(ROOT, 'docs/ARCHITECTURE.md'), 'utf8')
  const arrows = new Map<string, readonly string[]>()
  for (const [, room, cell] of table.matchAll(/^\| `src\/(\w+)\/` \|.*\| ([^|]+) \|$/gm) as Iterable<
    string[]
  >) {
    const named =
      cell === 'all above' ? [...arrows.keys()] : cell === 'nothing of ours' ? [] : cell?.split(', ')
    arrows.set(room as string, [room as string, ...(named ?? [])])
  }
  return arrows
}

const arrows = readArrows()

describe('rooms', () => {
  it('the table names every room there is, and no other', () => {
    expect([...new Set(sources.map(source => source.room))].sort()).toEqual([...arrows.keys()].sort())
    expect(arrows.get('core')).toEqual(['core'])
  })

  it.each([...arrows])('%s imports only from %j', (room, allowed) => {
    const offences = sources
      .filter(source => source.room === room)
      .flatMap(source =>
        source.imports
          .filter(({ from }) => from.startsWith('.'))
          .map(({ from }) => relative('.', join(dirname(source.path), from)))
          .filter(to => !allowed.some(prefix => to.startsWith(`${prefix}/`)))
          .map(to => `${source.path} -> ${to}`),
      )
    expect(offences).toEqual([])
  })
})

describe('outside the house', () => {
  it.each(Object.entries(RESTRICTED))('%s is imported only where there is a reason', (module, reasons) => {
    const users = sources
      .filter(source => source.imports.some(({ from, typeOnly }) => from === module && !typeOnly))
      .map(source => source.path)
    expect(users.filter(path => !Object.keys(reasons).some(place => path.startsWith(place)))).toEqual([])
    const idle = Object.keys(reasons).filter(place => !users.some(path => path.startsWith(place)))
    expect(idle, 'exceptions that nobody uses').toEqual([])
  })

  it('the command line carries no library but its parser: each would cost every command its start-up', async () => {
    const { metafile } = await build({
      entryPoints: [join(ROOT, 'src/cli/main.ts')],
      bundle: true,
      platform: 'node',
      format: 'cjs',
      metafile: true,
      write: false,
      absWorkingDir: ROOT,
    })
    const packages = Object.keys(metafile.inputs).flatMap(
      path => /node_modules\/([^/]+)/.exec(path)?.[1] ?? [],
    )
    expect([...new Set(packages)]).toEqual(['commander'])
  })
})

describe('files', () => {
  it(`none is longer than ${LONGEST_FILE} lines`, () => {
    expect(sources.filter(source => source.lines > LONGEST_FILE).map(source => source.path)).toEqual([])
  })
})
