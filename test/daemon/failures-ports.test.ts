/** Host ports: who holds one is named, nothing is half published, and a port that is to be picked is found if there is one. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { type Box, call, createInstance, type Instance, startBox } from '../paths/bed.ts'
import { apiOf, expectFailure, holder, picture, refused } from './failures.ts'

const PROTOCOLS = ['tcp', 'udp'] as const
const SERVER = { tcp: 'who', udp: 'udp' } as const

interface Socket {
  readonly protocol: 'tcp' | 'udp'
  readonly host: string
  readonly port: number
}

describe.each(['splice', 'node'] as const)('engine %s', engine => {
  const lab = useLab()
  let portctl: Instance
  let web: Box

  beforeAll(async () => {
    // Few enough to be held one by one; read by the daemon when it starts.
    await lab().sh(lab().host, 'sysctl', '-qw', 'net.ipv4.ip_local_port_range=40000 40004')
    portctl = await createInstance(lab(), lab().host, { args: ['--engine', engine] })
    await portctl.start()
    web = await startBox(lab(), portctl, 'web')
  })
  afterEach(async () => {
    await apiOf(portctl).unpublish({ all: true })
  })

  const publish = async (...specs: readonly string[]) => {
    const { publications } = await apiOf(portctl).publish({ specs, to: web.name })
    const [first] = publications
    if (first === undefined) throw new Error('nothing was published')
    return { ...first, count: publications.length }
  }

  /** Listens as another program on this host, for as long as `use` takes. */
  const holding = async (sockets: readonly Socket[], use: () => Promise<void>): Promise<void> => {
    const servers = await Promise.all(
      sockets.map(({ protocol, ...at }) => lab().serve(lab().host, { kind: SERVER[protocol], ...at })),
    )
    try {
      await use()
    } finally {
      await Promise.all(servers.map(server => server.close()))
    }
  }

  describe.each(PROTOCOLS)('%s', protocol => {
    test.each([
      ['IPv4', '0.0.0.0', '0\\.0\\.0\\.0'],
      ['IPv6, on one address', '::1', '\\[::\\]'],
    ])('taken by another process on %s: process and pid are named', async (_, host, named) => {
      await holding([{ protocol, host, port: 8200 }], async () => {
        const owner = await holder(lab(), portctl, protocol, 8200)
        await refused(lab(), portctl, ['publish', `8200:80/${protocol}`], {
          code: 'port-taken',
          says: new RegExp(`${named}:8200/${protocol} is already in use by ${owner} `),
        })
      })
      await publish(`8200:80/${protocol}`)
    })

    test('of several specifications the last one is taken: none is published', async () => {
      const specs = [`8301:80/${protocol}`, '8302:80', '9000-9100:9000-9100/udp', `8303:80/${protocol}`]
      await holding([{ protocol, host: '::', port: 8303 }], () =>
        refused(lab(), portctl, ['publish', ...specs], {
          code: 'port-taken',
          says: new RegExp(`\\[::\\]:8303/${protocol} is already in use by node \\(pid \\d+\\) `),
        }),
      )
    })

    test('a range for one port: every port of it is tried', async () => {
      await publish(`8504:80/${protocol}`)
      const held = [8500, 8501, 8502, 8503].map(port => ({
        protocol,
        host: port % 2 === 0 ? '0.0.0.0' : '::1',
        port,
      }))
      await holding(held, async () => {
        const row = await publish(`8500-8505:80/${protocol}`)
        expect(row).toMatchObject({ hostPort: 8505, hostPortEnd: 8505, hostIps: ['0.0.0.0', '::'] })
        expect((await call(lab(), lab().lan, lab().host.ipv4, 8505, protocol)).name).toBe('web')
        await refused(lab(), portctl, ['publish', `8500-8505:80/${protocol}`], {
          code: 'no-free-port',
          says: new RegExp(
            `no port of 8500-8505/${protocol} is free: 0\\.0\\.0\\.0:8505/${protocol} is already in use by publication ${row.id} of container ${web.name} `,
          ),
        })
      })
    })

    test('a port that is picked is the same for IPv4 and IPv6, and free on both', async () => {
      const sockets = [
        { protocol, host: '0.0.0.0', port: 40_000 },
        { protocol, host: '::', port: 40_001 },
        { protocol, host: '127.0.0.1', port: 40_003 },
        { protocol, host: '::1', port: 40_004 },
      ]
      await holding(sockets, async () => {
        const row = await publish(`80/${protocol}`)
        expect(row).toMatchObject({ hostPort: 40_002, hostIps: ['0.0.0.0', '::'], count: 1 })
        for (const address of [lab().host.ipv4, lab().host.ipv6])
          expect((await call(lab(), lab().lan, address, 40_002, protocol)).name).toBe('web')
        await refused(lab(), portctl, ['publish', `81/${protocol}`], {
          code: 'no-free-port',
          says: new RegExp(
            `no port of 40000-40004/${protocol} is free: \\S+:4000\\d/${protocol} is already in use by (node \\(pid \\d+\\)|publication ${row.id}.*) `,
          ),
        })
      })
    })

    test('several host addresses in one command get one port', async () => {
      const { ipv4, ipv6 } = lab().host
      await holding([{ protocol, host: ipv6, port: 40_000 }], async () => {
        const row = await publish(
          ...['127.0.0.1', ipv4, '[::1]', `[${ipv6}]`].map(ip => `${ip}::80/${protocol}`),
        )
        expect(row.count).toBe(1)
        expect(row.hostIps.toSorted()).toEqual(['127.0.0.1', '::1', ipv4, ipv6].toSorted())
        expect(row.hostPort).not.toBe(40_000)
        for (const address of [ipv4, ipv6])
          expect((await call(lab(), lab().host, address, row.hostPort, protocol)).name).toBe('web')
      })
    })
  })

  test('a range that fits one by one has none of it held', async () => {
    await holding([{ protocol: 'tcp', host: '0.0.0.0', port: 8409 }], () =>
      refused(lab(), portctl, ['publish', '8400-8409:8400-8409'], {
        code: 'port-taken',
        says: /0\.0\.0\.0:8409\/tcp is already in use by node \(pid \d+\) /,
      }),
    )
  })

  test('an address that this host does not have', async () => {
    await refused(lab(), portctl, ['publish', '8081:80', '203.0.113.77:8080:80'], {
      code: 'address-unavailable',
      says: /cannot listen on 203\.0\.113\.77:8080\/tcp: no such address on this host/,
    })
  })

  // What follows is decided before any engine is asked.
  if (engine === 'node') return

  test('taken by a publication: it and its container are named', async () => {
    const { id } = await publish('8080:80')
    await refused(lab(), portctl, ['publish', '8080:81', '--json'], {
      code: 'port-taken',
      says: new RegExp(
        `0\\.0\\.0\\.0:8080/tcp is already in use by publication ${id} of container ${web.name} `,
      ),
    })
    await publish('8080:80/udp')
  })

  test('taken by a publication on one address only: that address is named', async () => {
    const { id } = await publish('[::1]:8081:80')
    await refused(lab(), portctl, ['publish', '8081:80'], {
      code: 'port-taken',
      says: new RegExp(`\\[::\\]:8081/tcp is already in use by publication ${id} `),
    })
    await publish('0.0.0.0:8081:80')
  })

  test('taken by a range: the first port that both want is named', async () => {
    const { id } = await publish('8100-8110:8100-8110')
    await refused(lab(), portctl, ['publish', '8090-8105:8090-8105'], {
      code: 'port-taken',
      says: new RegExp(`0\\.0\\.0\\.0:8100/tcp is already in use by publication ${id} `),
    })
  })

  test('a name that is taken', async () => {
    const { publications } = await apiOf(portctl).publish({ specs: ['8110:80'], to: web.name, name: 'named' })
    await refused(lab(), portctl, ['publish', '8111:80', '--name', 'named'], {
      code: 'name-taken',
      says: new RegExp(`the name 'named' is taken by publication ${publications[0]?.id} `),
    })
  })

  test('sixteen at once for one port: one gets it, the others name it', async () => {
    const before = await picture(lab(), portctl)
    const outcomes = await Promise.all(
      Array.from({ length: 16 }, () => portctl.run(['publish', '-q', '8600:80'])),
    )
    const [winner, ...others] = outcomes.toSorted((a, b) => a.exitCode - b.exitCode)
    expect(winner).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^[0-9a-f]{12}\n$/) })
    const id = winner?.stdout.trim()
    for (const outcome of others)
      expectFailure(outcome, {
        code: 'port-taken',
        says: new RegExp(`0\\.0\\.0\\.0:8600/tcp is already in use by publication ${id}`),
      })
    expect((await apiOf(portctl).listPublications()).map(row => row.id)).toEqual([id])
    await apiOf(portctl).unpublish({ all: true })
    expect(await picture(lab(), portctl)).toEqual(before)
  })

  test('sixteen at once for one name: one gets it', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, (_, i) =>
        apiOf(portctl).publish({ specs: [`${8700 + i}:80`], to: web.name, name: 'contended' }),
      ),
    )
    expect(outcomes.filter(outcome => outcome.status === 'fulfilled')).toHaveLength(1)
    expect(await apiOf(portctl).listPublications()).toHaveLength(1)
  })

  test('taken back twice at once: nothing is left, and the one that came late is told', async () => {
    const before = await picture(lab(), portctl)
    const { id } = await publish('8800:80')
    const outcomes = await Promise.all([portctl.run(['unpublish', id]), portctl.run(['unpublish', id])])
    const [first, second] = outcomes.toSorted((a, b) => a.exitCode - b.exitCode)
    expect(first).toMatchObject({ exitCode: 0, stderr: '' })
    if (second !== undefined && second.exitCode !== 0)
      expectFailure(second, {
        code: 'publication-not-found',
        says: new RegExp(`no publication '${id}'`),
        hint: /portctl ls/,
      })
    expect(await picture(lab(), portctl)).toEqual(before)
  })
})
