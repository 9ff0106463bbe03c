/** Containers that cannot be made, started or removed: one clear line, and nothing of them is left. */
import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLab, type Lab } from '../lab/lab.ts'
import { call, createInstance, type Instance, startBox } from '../paths/bed.ts'
import { apiOf, expectFailure, picture, refused } from './failures.ts'

let laboratory: Lab
let portctl: Instance
const lab = () => laboratory

beforeEach(async () => {
  laboratory = await createLab()
  portctl = await createInstance(lab())
  await portctl.start()
})
afterEach(() => laboratory.dispose())

const SLEEP = ['--', 'sleep', '600'] as const

describe.each([
  ['the first one, which would make the network', false],
  ['one beside others', true],
])('run, %s', (_, beside) => {
  let other: string

  beforeEach(async () => {
    other = portctl.name('other')
    if (beside) await portctl.ok('run', '-d', '--name', other, '-p', '8099:80', ...SLEEP)
  })

  test.each([
    ['in the background', ['-d']],
    ['in the foreground', []],
  ])('%s, a command that does not exist, or is not executable', async (__, flags) => {
    const file = join(dirname(portctl.runDir), 'plain')
    writeFileSync(file, '')
    chmodSync(file, 0o644)
    await refused(lab(), portctl, ['run', ...flags, '--', 'no-such-command'], {
      code: 'command-not-found',
      says: /command 'no-such-command' not found/,
    })
    await refused(lab(), portctl, ['run', ...flags, '--', file], {
      code: 'command-not-executable',
      says: new RegExp(`cannot run '${file}': ${file} is not an executable file`),
    })
  })

  test('a published port that another process holds', async () => {
    await lab().serve(lab().host, { kind: 'who', host: '0.0.0.0', port: 8080 })
    for (const flags of [['-d'], []])
      await refused(lab(), portctl, ['run', ...flags, '-p', '8081:80', '-p', '8080:80', ...SLEEP], {
        code: 'port-taken',
        says: /0\.0\.0\.0:8080\/tcp is already in use by node \(pid \d+\) /,
      })
  })

  test('an address that is no address, out of range, or the gateway', async () => {
    const failures = [
      ['172.16.0.300', 'address-invalid', /invalid address '172\.16\.0\.300'/],
      ['203.0.113.5', 'address-out-of-range', /address 203\.0\.113\.5 cannot be handed out from 172\.\d+/],
      ['2001:db8:7::5', 'address-out-of-range', /address 2001:db8:7::5 cannot be handed out from fd/],
    ] as const
    for (const [ip, code, says] of failures)
      await refused(lab(), portctl, ['run', '-d', '--ip', ip, ...SLEEP], { code, says })
  })

  test('a namespace of that name that is somebody else’s, and survives', async () => {
    const name = await lab().namespace('foreign')
    await lab().serve(name, { kind: 'who', host: '127.0.0.1', port: 80, name: 'foreign' })
    for (const flags of [['-d'], []])
      await refused(lab(), portctl, ['run', ...flags, '--name', name, ...SLEEP], {
        code: 'netns-exists',
        says: new RegExp(`a network namespace named '${name}' exists already`),
        hint: /ip netns/,
      })
    expect((await call(lab(), name, '127.0.0.1', 80)).name).toBe('foreign')
  })

  test('a network that does not exist', async () => {
    await refused(lab(), portctl, ['run', '-d', '--network', 'moon', ...SLEEP], {
      code: 'network-not-found',
      says: /no network 'moon'/,
    })
  })
})

describe('with a container', () => {
  test('its name, its address and its port are taken', async () => {
    const web = await startBox(lab(), portctl, 'web')
    await portctl.ok('publish', '8080:80', '--to', web.name)
    await refused(lab(), portctl, ['run', '-d', '--name', web.name, ...SLEEP], {
      code: 'name-taken',
      says: new RegExp(`the name '${web.name}' is taken by another container`),
    })
    for (const ip of [web.ipv4, web.ipv6])
      await refused(lab(), portctl, ['run', '-d', '--ip', ip, ...SLEEP], {
        code: 'address-taken',
        says: new RegExp(`address ${ip} is already in use in `),
      })
    await refused(lab(), portctl, ['run', '-d', '--ip', web.gateway, ...SLEEP], {
      code: 'address-out-of-range',
      says: new RegExp(`address ${web.gateway} cannot be handed out .*gateway`),
    })
    await refused(lab(), portctl, ['run', '-d', '-p', '8080:80', ...SLEEP], {
      code: 'port-taken',
      says: new RegExp(`in use by publication [0-9a-f]{12} of container ${web.name} `),
    })
    expect((await call(lab(), lab().lan, lab().host.ipv4, 8080)).name).toBe('web')
  })

  test('it runs, so it is not removed; of several names the others are done', async () => {
    const [busy, done] = [portctl.name('busy'), portctl.name('done')]
    await portctl.ok('run', '-d', '--name', busy, ...SLEEP)
    await refused(lab(), portctl, ['rm', busy], {
      code: 'container-running',
      says: new RegExp(`container '${busy}' is running`),
      hint: new RegExp(`portctl stop ${busy}.*portctl rm -f ${busy}`),
    })
    await portctl.ok('run', '--name', done, '--', 'true')
    const { exitCode, stdout, stderr } = await portctl.run(['rm', busy, 'nobody', done])
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: `${done}\n` })
    expect(stderr.match(/^portctl: .*$/gm)).toEqual([
      expect.stringContaining('[container-running]'),
      expect.stringContaining('[container-not-found]'),
    ])
    expect(existsSync(`/run/netns/${done}`)).toBe(false)
  })

  test('removed by three at once: nothing is left, nobody hears of a defect', async () => {
    const before = await portctl.ok('run', '--rm', '--', 'true').then(() => picture(lab(), portctl))
    const name = portctl.name('contended')
    await portctl.ok('run', '-d', '--name', name, '-p', '8080:80', '-p', '8080:80/udp', ...SLEEP)
    const outcomes = await Promise.all([
      portctl.run(['rm', '-f', name]),
      portctl.run(['rm', '-f', name]),
      portctl.run(['rm', '-f', name]),
    ])
    expect(outcomes.filter(({ exitCode }) => exitCode === 0).length).toBeGreaterThan(0)
    for (const outcome of outcomes.filter(({ exitCode }) => exitCode !== 0))
      expectFailure(outcome, {
        code: 'container-not-found',
        says: new RegExp(`no container '${name}'`),
        hint: /there are none/,
      })
    expect(await picture(lab(), portctl)).toEqual(before)
  })

  test('removed while ports are being published to it: none of them is left', async () => {
    const before = await portctl.ok('run', '--rm', '--', 'true').then(() => picture(lab(), portctl))
    const api = apiOf(portctl)
    const name = portctl.name('going')
    await api.run({ name, command: ['true'], detach: false, autoRemove: false })
    const publish = (port: number) =>
      api.publish({ specs: [`${port}:80`], to: name }).catch((error: { code: string }) => error.code)
    const [, ...outcomes] = await Promise.all([
      ...[api.remove(name, false)],
      ...Array.from({ length: 16 }, (_, i) => publish(9000 + i)),
    ])
    for (const outcome of outcomes)
      if (typeof outcome === 'string') expect(outcome).toBe('container-not-found')
    expect(await picture(lab(), portctl)).toEqual(before)
  })

  test('sixteen at once for one name: one gets it', async () => {
    const name = portctl.name('same')
    const outcomes = await Promise.all(
      Array.from({ length: 16 }, () =>
        apiOf(portctl)
          .run({ name, command: ['/bin/sleep', '600'], detach: true, autoRemove: false })
          .then(
            () => 'made',
            (error: { code: string }) => error.code,
          ),
      ),
    )
    expect(outcomes.toSorted()).toEqual(['made', ...Array.from({ length: 15 }, () => 'name-taken')])
    expect((await apiOf(portctl).listContainers()).map(container => container.name)).toEqual([name])
  })
})
