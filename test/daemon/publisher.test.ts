/** Which ports a request gets, against a world that refuses the ports that others hold. */
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { PortctlError } from '../../src/core/errors.ts'
import { Committer } from '../../src/daemon/committer.ts'
import { Ipv4Only } from '../../src/daemon/ipv4-only.ts'
import { PortBook } from '../../src/daemon/port-book.ts'
import { Publisher } from '../../src/daemon/publisher.ts'
import type { Publication } from '../../src/model/index.ts'

const EPHEMERAL = 32_768
const around = {
  containers: new Map(),
  networks: new Map(),
  ipv4Only: () => false,
  kernelPath: false,
}

let foreign: Set<number>
let ownersSought: number[]
let publisher: Publisher

const newPublisher = (): Publisher => {
  const publications = new Map<string, Publication>()
  return new Publisher({
    book: new PortBook(),
    ipv4Only: new Ipv4Only(),
    committer: new Committer({
      openServices: async services => {
        for (const { addresses, ports, protocol } of services)
          if (foreign.has(ports.first))
            throw PortctlError.of('port-taken', { address: `${addresses[0]}`, port: ports.first, protocol })
      },
      closeServices: async () => undefined,
      applyRules: async () => undefined,
      invert: operation => operation,
      commit: async changes => {
        for (const change of changes)
          if ('put' in change && change.put === 'publications') publications.set(change.id, change.value)
      },
      flushFlows: async () => undefined,
      warn: () => undefined,
    }),
    surroundings: () => around,
    publications: () => publications,
    ephemeral: { range: { first: EPHEMERAL, last: EPHEMERAL + 9 }, reserved: new Set(), cursor: EPHEMERAL },
    families: [4, 6],
    ownerOf: async (_, __, port) => {
      ownersSought.push(port)
      return 'nginx (pid 7)'
    },
  })
}

beforeEach(() => {
  foreign = new Set()
  ownersSought = []
  publisher = newPublisher()
})

const publish = async (...specs: string[]): Promise<readonly string[]> => {
  const made = await publisher.publish({
    specs,
    target: { kind: 'address', address: '192.0.2.1' },
    name: null,
    via: 'auto',
    held: false,
  })
  return made.map(p => `${p.hostIps} ${p.hostPort}:${p.targetPort}`)
}
const BOTH = '0.0.0.0,::'

describe('within a request', () => {
  it.each([
    [
      ['80', '32768:81'],
      [`${BOTH} 32769:80`, `${BOTH} 32768:81`],
    ],
    [
      ['8000-8010:80', '8000:81'],
      [`${BOTH} 8001:80`, `${BOTH} 8000:81`],
    ],
    [
      ['80', '32768-32770:81'],
      [`${BOTH} 32769:80`, `${BOTH} 32768:81`],
    ],
    [
      ['8000-8002:80', '8000-8001:81', '8000-8001:82'],
      [`${BOTH} 8002:80`, `${BOTH} 8000:81`, `${BOTH} 8001:82`],
    ],
    [['127.0.0.1:8080:80', '[::1]:8080:80'], ['127.0.0.1,::1 8080:80']],
    [
      ['80', '80'],
      [`${BOTH} 32768:80`, `${BOTH} 32769:80`],
    ],
    [
      ['127.0.0.1::80', '80', '[::1]::80'],
      ['127.0.0.1,::1 32768:80', `${BOTH} 32769:80`],
    ],
  ])('%j', async (specs, got) => {
    expect(await publish(...specs)).toEqual(got)
  })

  it.each([
    [['8080:80', '8080:80'], '0.0.0.0:8080/tcp'],
    [['8080:80', '8080:81'], '0.0.0.0:8080/tcp'],
    [['8080:80', '127.0.0.1:8080:80'], '127.0.0.1:8080/tcp'],
    [['[::1]:53:53/udp', '53:54/udp'], '[::]:53/udp'],
    [['8000-8010:8000-8010', '8005:80'], '0.0.0.0:8005/tcp'],
  ])('%j is refused: used twice', async (specs, what) => {
    await expect(publish(...specs)).rejects.toMatchObject({
      code: 'port-twice',
      message: `${what} is used twice in this command`,
    })
    // Nothing is left claimed.
    expect(await publish(specs[0] as string)).toHaveLength(1)
  })

  it('says so of a range that the command itself has used up', async () => {
    await expect(publish('8000-8001:80', '8000:81', '8001:82')).rejects.toMatchObject({
      code: 'no-free-port',
      message: expect.stringContaining('0.0.0.0:8001/tcp is used twice in this command'),
    })
  })

  it('names the publication when it is of another request', async () => {
    await publish('8080:80')
    await expect(publish('8080:81')).rejects.toMatchObject({
      code: 'port-taken',
      message: expect.stringMatching(/by publication [0-9a-f]{12}$/),
    })
  })

  it('gives every range a port if there is any way to', async () => {
    const range = fc
      .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 3 }))
      .map(([first, more]) => ({ first, last: first + more }))
    await fc.assert(
      fc.asyncProperty(fc.array(range, { minLength: 1, maxLength: 6 }), async ranges => {
        publisher = newPublisher()
        const specs = ranges.map(({ first, last }, i) => `${first}-${last}:${80 + i}`)
        const outcome = await publish(...specs).then(
          () => true,
          () => false,
        )
        expect(outcome).toBe(matching(ranges))
      }),
    )
  })
})

/** Whether each range can have a port of its own: tries all ways. */
const matching = (
  ranges: readonly { first: number; last: number }[],
  used: ReadonlySet<number> = new Set(),
): boolean => {
  const [range, ...rest] = ranges
  if (range === undefined) return true
  for (let port = range.first; port <= range.last; port++)
    if (!used.has(port) && matching(rest, new Set([...used, port]))) return true
  return false
}

describe('ports that others hold', () => {
  it('are passed over without asking who holds them', async () => {
    foreign = new Set([8000, 8001, 8002, EPHEMERAL])
    expect(await publish('8000-8005:80', '81')).toEqual([`${BOTH} 8003:80`, `${BOTH} ${EPHEMERAL + 1}:81`])
    expect(ownersSought).toEqual([])
  })

  it.each([
    ['8000:80', 'port-taken', [8000]],
    ['8000-8002:80', 'no-free-port', [8002]],
  ])('%s: the owner is named when there is no other port', async (spec, code, sought) => {
    foreign = new Set([8000, 8001, 8002])
    await expect(publish(spec)).rejects.toMatchObject({
      code,
      message: expect.stringContaining('by nginx (pid 7)'),
    })
    expect(ownersSought).toEqual(sought)
  })
})
