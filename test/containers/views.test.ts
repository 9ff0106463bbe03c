/** `ps`, `port` and `inspect`, to the letter: scripts read them. */
import { beforeAll, expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import type { Instance } from '../lab/portctl.ts'
import { bare, type ContainerRow, type Place, rowOf, startContainer, startedInstance } from './bed.ts'

const lab = useLab()
let portctl: Instance
let web: string
let done: string
let alone: string
let row: ContainerRow

beforeAll(async () => {
  portctl = await startedInstance(lab())
  web = await startContainer(portctl, 'web')
  alone = await startContainer(portctl, 'alone', ['--network', 'none'])
  done = portctl.name('done')
  await portctl.run(['run', '--name', done, '--', 'sh', '-c', 'exit 3'])
  await portctl.ok('publish', '8080:80', '127.0.0.1:5353:53/udp', '20000-20009:7000-7009', '--to', web)
  await portctl.ok('publish', '[::1]:8443:443', '--to', web, '--name', 'secure')
  row = (await rowOf(portctl, web)) as ContainerRow
})

test('ps --json: the fields of the contract, and no others', async () => {
  const rows = await portctl.json<ContainerRow[]>('ps')
  expect(rows).toEqual([
    {
      name: web,
      id: expect.stringMatching(/^[0-9a-f]{12}$/),
      pid: expect.any(Number),
      netns: `/run/netns/${web}`,
      status: 'running',
      networks: {
        bridge: {
          ipv4: '172.17.0.2/16',
          ipv6: expect.stringMatching(/^fd[0-9a-f:]+::2\/64$/),
          mac: '02:42:ac:11:00:02',
          gateway: '172.17.0.1',
        },
      },
      ports: [
        '0.0.0.0:8080->80/tcp',
        '[::]:8080->80/tcp',
        '127.0.0.1:5353->53/udp',
        '0.0.0.0:20000-20009->7000-7009/tcp',
        '[::]:20000-20009->7000-7009/tcp',
        '[::1]:8443->443/tcp',
      ],
    },
    {
      name: alone,
      id: expect.any(String),
      pid: expect.any(Number),
      netns: `/run/netns/${alone}`,
      status: 'running',
      networks: {},
      ports: [],
    },
    {
      name: done,
      id: expect.any(String),
      pid: null,
      netns: `/run/netns/${done}`,
      status: 'exited',
      networks: { bridge: expect.objectContaining({ ipv4: '172.17.0.3/16' }) },
      ports: [],
    },
  ])
})

test('ps: a table; --quiet: names', async () => {
  const place = row.networks.bridge as Place
  const [heading, first, second, third, ...rest] = (await portctl.ok('ps')).split('\n')
  expect(heading?.split(/ {2,}/)).toEqual(['NAME', 'ID', 'STATUS', 'PID', 'NETWORK', 'ADDRESSES', 'PORTS'])
  expect(first?.split(/ {2,}/)).toEqual([
    ...[web, row.id, 'running', String(row.pid), 'bridge', `${place.ipv4}, ${place.ipv6}`],
    row.ports.join(', '),
  ])
  expect(second?.split(/ {2,}/).slice(2)).toEqual(['running', expect.any(String), '-', '-', '-'])
  expect(third?.split(/ {2,}/).slice(2, 5)).toEqual(['exited', '-', 'bridge'])
  expect(rest).toEqual([''])
  expect(await portctl.ok('ps', '--quiet')).toBe(`${web}\n${alone}\n${done}\n`)
})

test('port: as docker port, one line an address', async () => {
  expect(await portctl.ok('port', web)).toBe(
    [
      '53/udp -> 127.0.0.1:5353',
      '80/tcp -> 0.0.0.0:8080',
      '80/tcp -> [::]:8080',
      '443/tcp -> [::1]:8443',
      '7000-7009/tcp -> 0.0.0.0:20000-20009',
      '7000-7009/tcp -> [::]:20000-20009',
      '',
    ].join('\n'),
  )
  expect(await portctl.ok('port', web, '80')).toBe('0.0.0.0:8080\n[::]:8080\n')
  expect(await portctl.ok('port', web, '53/udp')).toBe('127.0.0.1:5353\n')
  expect(await portctl.ok('port', web, '7004/tcp')).toBe('0.0.0.0:20004\n[::]:20004\n')
  expect(await portctl.ok('port', row.id.slice(0, 6), '443')).toBe('[::1]:8443\n')
  expect(await portctl.ok('port', alone)).toBe('')
  expect(await portctl.json('port', web, '53/udp')).toEqual([
    {
      targetPort: 53,
      targetPortEnd: 53,
      protocol: 'udp',
      hostIp: '127.0.0.1',
      hostPort: 5353,
      hostPortEnd: 5353,
    },
  ])
})

test.each([
  [['port', 'WEB', '53'], 1, 'port-not-published'],
  [['port', 'WEB', '80/udp'], 1, 'port-not-published'],
  [['port', 'WEB', '7010'], 1, 'port-not-published'],
  [['port', 'WEB', '0'], 2, 'usage'],
  [['port', 'WEB', '80/icmp'], 2, 'usage'],
  [['port', 'no-such-container'], 1, 'container-not-found'],
  [['inspect', 'no-such-thing'], 1, 'not-found'],
])('%j is refused with one line and status %i', async (args, status, code) => {
  const words = args.map(word => (word === 'WEB' ? web : word))
  const { exitCode, stdout, stderr } = await portctl.run(words)
  expect({ exitCode, stdout }).toEqual({ exitCode: status, stdout: '' })
  expect(stderr.split('\n')[0]).toMatch(new RegExp(`^portctl: .*\\[${code}\\]$`))
})

test('inspect: a container by name, id or its beginning; a publication by id or name', async () => {
  const detail = await portctl.json<object>('inspect', web)
  expect(detail).toEqual({
    kind: 'container',
    ...row,
    command: [expect.stringMatching(/\/sleep$/), '600'],
    exitCode: null,
    autoRemove: false,
    resolvConf: expect.stringContaining(portctl.runDir),
    logFile: expect.stringContaining(portctl.stateDir),
  })
  expect(await portctl.json('inspect', row.id)).toEqual(detail)
  expect(await portctl.json('inspect', row.id.slice(0, 4))).toEqual(detail)
  expect(await portctl.json('inspect', done)).toMatchObject({ status: 'exited', exitCode: 3, logFile: null })

  const [secure] = (await portctl.json<{ id: string; name: string | null }[]>('ls')).filter(
    p => p.name === 'secure',
  )
  const publication = {
    kind: 'publication',
    id: secure?.id,
    name: 'secure',
    protocol: 'tcp',
    hostIps: ['::1'],
    hostPort: 8443,
    hostPortEnd: 8443,
    container: web,
    target: bare(row.networks.bridge?.ipv4),
    targetPort: 443,
    targetPortEnd: 443,
    via: 'relay',
    state: 'active',
    connections: { active: 0, total: 0 },
    bytes: { in: 0, out: 0 },
  }
  expect(await portctl.json('inspect', 'secure')).toEqual(publication)
  expect(await portctl.json('inspect', secure?.id as string)).toEqual(publication)
  // Without --json it is JSON all the same.
  expect(JSON.parse(await portctl.ok('inspect', web))).toEqual(detail)
})

test('run -d --json tells what was made', async () => {
  const name = portctl.name('json')
  const options = ['run', '-d', '--json', '--name', name, '-p', '9090:90']
  const made: object = JSON.parse(await portctl.ok(...options, '--', 'sleep', '600'))
  expect(made).toMatchObject({ name, status: 'running', publications: [{ hostPort: 9090, targetPort: 90 }] })
})
