import { describe, expect, it } from 'vitest'
import { PortctlError } from '../../src/core/errors.ts'
import { portctl, publication } from './fake.ts'

const LINE = '0.0.0.0:8080, [::]:8080 -> web 172.18.0.2:80/tcp via kernel [3f9c1a2b4d5e]\n'

describe('publish', () => {
  it('sends operands, then -p, and only the flags that were given', async () => {
    const { calls } = await portctl([
      'publish',
      '8080:80',
      '-p',
      '53:53/udp',
      '--to',
      'web',
      '--via',
      'relay',
    ])
    expect(calls).toEqual([
      { method: 'publish', args: [{ specs: ['8080:80', '53:53/udp'], to: 'web', via: 'relay' }] },
    ])
    const bare = await portctl(['publish', '80'])
    expect(bare.calls).toEqual([{ method: 'publish', args: [{ specs: ['80'] }] }])
  })

  it('prints a line a publication on stdout and notes on stderr', async () => {
    expect(await portctl(['publish', '8080:80'])).toMatchObject({
      status: 0,
      stdout: LINE,
      stderr: 'a note\n',
    })
  })

  it('prints ids only with --quiet', async () => {
    expect(await portctl(['publish', '-q', '80'])).toMatchObject({ stdout: '3f9c1a2b4d5e\n', stderr: '' })
  })

  it.each([[['publish', '80', '--json']], [['--json', 'publish', '80']]])(
    'prints an array with %j',
    async args => {
      expect(JSON.parse((await portctl(args)).stdout)).toEqual([publication()])
    },
  )

  it('wants something to publish', async () => {
    expect(await portctl(['publish', '--to', 'web'])).toEqual({
      status: 2,
      stdout: '',
      stderr:
        "portctl: what is to be published? give a SPEC such as 8080:80 [usage]\nsee 'portctl publish --help'\n",
      calls: [],
    })
  })

  it("reports the daemon's refusal with its status", async () => {
    const service = {
      publish: () =>
        Promise.reject(PortctlError.of('port-taken', { address: '::', port: 8080, protocol: 'tcp' })),
    }
    const { status, stderr } = await portctl(['publish', '8080:80'], { service })
    expect(status).toBe(1)
    expect(stderr).toBe('portctl: [::]:8080/tcp is already in use [port-taken]\n')
  })
})

describe('publish --foreground', () => {
  const ids = ['3f9c1a2b4d5e']
  const interrupted = () => Promise.resolve('SIGINT' as const)

  it('takes them back when it is interrupted', async () => {
    const { status, stdout, calls } = await portctl(['publish', '8080:80', '--foreground'], { interrupted })
    expect(calls.map(call => call.method)).toEqual(['publish', 'hold', 'unpublish'])
    expect(calls.at(-1)?.args).toEqual([{ refs: ids, missingOk: true }])
    expect({ status, stdout }).toEqual({ status: 0, stdout: LINE })
  })

  it('fails when the daemon goes', async () => {
    const service = {
      hold: async () => ({ ended: Promise.resolve('daemon-gone' as const), release: () => undefined }),
    }
    const { status, stderr } = await portctl(['publish', '80', '--foreground'], { service })
    expect(status).toBe(1)
    expect(stderr).toContain('[daemon-gone]')
  })

  it('leaves nothing, and announces nothing, when it cannot be held', async () => {
    const service = {
      hold: () => Promise.reject(PortctlError.of('daemon-gone', { what: 'hold', changes: false })),
    }
    const { status, stdout, calls } = await portctl(['publish', '80', '--foreground'], { service })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(calls.at(-1)).toEqual({ method: 'unpublish', args: [{ refs: ids, missingOk: true }] })
  })
})

describe('unpublish', () => {
  it('names what it took back', async () => {
    const { stdout, calls } = await portctl(['unpublish', '8080:80', 'dns'])
    expect(stdout).toBe(`unpublished ${LINE}`)
    expect(calls).toEqual([{ method: 'unpublish', args: [{ refs: ['8080:80', 'dns'] }] }])
  })

  it('--all', async () => {
    expect((await portctl(['unpublish', '--all', '-q'])).stdout).toBe('3f9c1a2b4d5e\n')
    expect((await portctl(['unpublish', '--all'])).calls).toEqual([
      { method: 'unpublish', args: [{ all: true }] },
    ])
  })

  it.each([[['unpublish']], [['unpublish', '--all', 'x']]])('refuses %j', async args => {
    expect(await portctl(args)).toMatchObject({ status: 2, calls: [] })
  })
})

describe('ls', () => {
  const several = {
    listPublications: async () => [
      publication(),
      publication({
        id: 'aaaaaaaaaaaa',
        name: 'media',
        protocol: 'udp',
        hostIps: ['127.0.0.1'],
        hostPort: 20000,
        hostPortEnd: 20999,
        container: null,
        target: 'netns:blue',
        targetPort: 20000,
        targetPortEnd: 20999,
        via: 'relay',
        connections: { active: 0, total: 0 },
        bytes: { in: 0, out: 0 },
      }),
      publication({
        id: 'bbbbbbbbbbbb',
        container: null,
        target: 'fd00::5',
        hostIps: ['::1'],
        state: 'target-gone',
      }),
    ],
  }

  it('aligns columns', async () => {
    expect((await portctl(['ls'], { service: several })).stdout).toBe(
      [
        'ID            NAME   HOST                     TARGET                      VIA     STATE        CONNECTIONS  IN      OUT',
        '3f9c1a2b4d5e  -      0.0.0.0:8080, [::]:8080  web 172.18.0.2:80/tcp       kernel  active       2/15         1.2 kB  5.6 MB',
        'aaaaaaaaaaaa  media  127.0.0.1:20000-20999    netns:blue:20000-20999/udp  relay   active       0/0          0 B     0 B',
        'bbbbbbbbbbbb  -      [::1]:8080               [fd00::5]:80/tcp            kernel  target-gone  2/15         1.2 kB  5.6 MB',
        '',
      ].join('\n'),
    )
  })

  it('has a heading over nothing, and an empty array', async () => {
    const service = { listPublications: async () => [] }
    expect((await portctl(['ls'], { service })).stdout).toMatch(/^ID +NAME .*OUT\n$/)
    expect((await portctl(['ls', '--json'], { service })).stdout).toBe('[]\n')
    expect((await portctl(['ls', '-q'], { service })).stdout).toBe('')
  })

  it('--json has the fields of the contract', async () => {
    const [row] = JSON.parse((await portctl(['ls', '--json'])).stdout) as [object]
    expect(Object.keys(row)).toEqual(
      'id name protocol hostIps hostPort hostPortEnd container target targetPort targetPortEnd via state connections bytes'.split(
        ' ',
      ),
    )
  })
})

describe('port', () => {
  const service = {
    listPublications: async () => [
      publication({ protocol: 'udp', targetPort: 53, targetPortEnd: 53, hostPort: 5353, hostPortEnd: 5353 }),
      publication(),
      publication({
        hostIps: ['10.0.0.1'],
        hostPort: 7000,
        hostPortEnd: 7009,
        targetPort: 9000,
        targetPortEnd: 9009,
      }),
      publication({ container: 'other', hostPort: 1, hostPortEnd: 1 }),
    ],
  }

  it('lists a line an address, by target port', async () => {
    expect((await portctl(['port', 'web'], { service })).stdout).toBe(
      [
        '53/udp -> 0.0.0.0:5353',
        '53/udp -> [::]:5353',
        '80/tcp -> 0.0.0.0:8080',
        '80/tcp -> [::]:8080',
        '9000-9009/tcp -> 10.0.0.1:7000-7009',
        '',
      ].join('\n'),
    )
  })

  it.each([
    ['80', '0.0.0.0:8080\n[::]:8080\n'],
    ['80/TCP', '0.0.0.0:8080\n[::]:8080\n'],
    ['53/udp', '0.0.0.0:5353\n[::]:5353\n'],
    ['9004', '10.0.0.1:7004\n'],
  ])('%s', async (query, stdout) => {
    expect((await portctl(['port', 'web', query], { service })).stdout).toBe(stdout)
  })

  it('a query into a range, as JSON', async () => {
    expect(JSON.parse((await portctl(['port', 'web', '9004', '--json'], { service })).stdout)).toEqual([
      {
        targetPort: 9004,
        targetPortEnd: 9004,
        protocol: 'tcp',
        hostIp: '10.0.0.1',
        hostPort: 7004,
        hostPortEnd: 7004,
      },
    ])
  })

  it('says what is not published', async () => {
    const { status, stderr } = await portctl(['port', 'web', '53'], { service })
    expect(status).toBe(1)
    expect(stderr).toMatch(/^portctl: no public port '53\/tcp' published for web \[port-not-published\]\n/)
    expect((await portctl(['port', 'nope'], { service })).stderr).toContain('[container-not-found]')
  })

  it.each(['0', '65536', 'x', '80/http', '80-81', ''])('refuses %j', async query => {
    expect(await portctl(['port', 'web', query])).toMatchObject({ status: 2, calls: [] })
  })
})
