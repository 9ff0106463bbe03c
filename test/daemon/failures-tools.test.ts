/** Helper programs that fail in the middle, or are not there. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { pidsInNetns } from '../../src/kernel/netns.ts'
import { createLab, type Lab } from '../lab/lab.ts'
import { call, createInstance, type Instance, startBox } from '../paths/bed.ts'
import { apiOf, expectFailure, type Failure, picture, refused } from './failures.ts'
import { fingerprint } from './fingerprint.ts'
import { createToolbox, type Toolbox } from './toolbox.ts'

let laboratory: Lab
let portctl: Instance
let tools: Toolbox
const lab = () => laboratory

const arrange = async (options: Parameters<typeof createToolbox>[1] = {}): Promise<void> => {
  tools = createToolbox(lab(), options)
  portctl = await createInstance(lab(), lab().host, { env: { PATH: tools.path } })
}

beforeEach(async () => {
  laboratory = await createLab()
})
afterEach(() => laboratory.dispose())

const NFT_FAILED: Failure = { code: 'nft-failed', says: /nft: No buffer space available/ }

describe('nft fails', () => {
  beforeEach(async () => {
    await arrange()
    await portctl.start()
  })

  test('while ports are published: no listener, no rule, no record is left', async () => {
    const web = await startBox(lab(), portctl, 'web')
    tools.failAfter(0)
    await refused(lab(), portctl, ['publish', '8080:80', '8081:80/udp', '9000-9009:9000-9009'], NFT_FAILED)
    await portctl.ok('publish', '8080:80', '--to', web.name)
    expect((await call(lab(), lab().lan, lab().host.ipv4, 8080)).client).toBe(lab().lan.ipv4)
  })

  test('while ports are taken back: they stay published, wholly', async () => {
    const web = await startBox(lab(), portctl, 'web')
    await portctl.ok('publish', '8080:80', '8081:80', '--to', web.name)
    tools.failAfter(0)
    await refused(lab(), portctl, ['unpublish', '--all'], NFT_FAILED)
    for (const port of [8080, 8081])
      expect((await call(lab(), lab().lan, lab().host.ipv4, port)).client).toBe(lab().lan.ipv4)
    await portctl.ok('unpublish', '--all')
    expect(await apiOf(portctl).listPublications()).toEqual([])
  })

  test('anywhere while the first container is made: nothing of it is left', async () => {
    const name = portctl.name('web')
    let failures = 0
    for (;;) {
      const before = await picture(lab(), portctl)
      tools.failAfter(failures)
      const outcome = await portctl.run(['run', '-d', '--name', name, '-p', '8080:80', '--', 'sleep', '600'])
      if (outcome.exitCode === 0) break
      failures++
      expectFailure(outcome, NFT_FAILED)
      expect(await picture(lab(), portctl)).toEqual(before)
    }
    tools.heal()
    // The network and the publication.
    expect(failures).toBeGreaterThanOrEqual(2)
    expect(await apiOf(portctl).listPublications()).toMatchObject([{ hostPort: 8080, container: name }])
  })

  test('while a container is removed: it is still there, and removed by the next attempt', async () => {
    const before = await portctl.ok('run', '--rm', '--', 'true').then(() => picture(lab(), portctl))
    const web = await startBox(lab(), portctl, 'web')
    await portctl.ok('publish', '8080:80', '--to', web.name)
    const { rules } = await picture(lab(), portctl)
    tools.failAfter(0)
    expectFailure(await portctl.run(['rm', '-f', web.name]), NFT_FAILED)
    expect(await picture(lab(), portctl)).toMatchObject({
      rules,
      containers: [{ name: web.name, status: 'exited' }],
      publications: [{ hostPort: 8080 }],
    })
    await portctl.ok('rm', web.name)
    expect(await picture(lab(), portctl)).toEqual(before)
  })
})

test('nft fails while the daemon ends: it ends all the same, and what it could not take back the next one does', async () => {
  await arrange()
  const bare = await fingerprint(lab(), lab().host)
  await portctl.start()
  const web = await startBox(lab(), portctl, 'web')
  await portctl.ok('publish', '8080:80', '8081:80/udp', '--to', web.name)
  tools.failAfter(0)
  expect(await portctl.stop()).toBe(1)
  expect(portctl.log()).toMatch(/^portctl: nft: No buffer space available \[nft-failed\]$/m)
  await portctl.start()
  expect(await apiOf(portctl).listContainers()).toMatchObject([{ name: web.name, status: 'exited' }])
  expect(await portctl.stop()).toBe(0)
  expect(await fingerprint(lab(), lab().host)).toEqual(bare)
})

test('without conntrack all works, and the log says what is missing', async () => {
  await arrange({ without: ['conntrack'] })
  await portctl.start()
  const web = await startBox(lab(), portctl, 'web')
  await portctl.ok('publish', '8080:80/udp', '--to', web.name)
  expect((await call(lab(), lab().lan, lab().host.ipv4, 8080, 'udp')).client).toBe(lab().lan.ipv4)
  expect(await portctl.json('ls')).toMatchObject([{ via: 'kernel', connections: { active: 0 } }])
  await portctl.ok('unpublish', '8080/udp')
  expect(portctl.log()).toContain("'conntrack' is not installed or not in PATH")
})

test('without nft the relay carries all, and publish says so', async () => {
  await arrange({ without: ['nft'] })
  await portctl.start()
  const web = await startBox(lab(), portctl, 'web')
  const { exitCode, stdout, stderr } = await portctl.run(['publish', '8080:80', '--to', web.name, '--json'])
  expect(exitCode).toBe(0)
  expect(stderr).toBe(
    "the relay alone carries the traffic, and clients' addresses are not kept: 'nft' is not installed or not in PATH\n",
  )
  expect(JSON.parse(stdout)).toMatchObject([{ via: 'relay', container: web.name }])
  for (const [from, address] of [
    [lab().lan, lab().host.ipv4],
    [lab().lan, lab().host.ipv6],
    [lab().host, '127.0.0.1'],
    [web.netns, web.gateway],
  ] as const)
    expect((await call(lab(), from, address, 8080)).name).toBe('web')
  expect((await picture(lab(), portctl)).rules).toEqual([])
  await refused(lab(), portctl, ['publish', '8081:80', '--via', 'kernel'], {
    code: 'via-unavailable',
    says: /the kernel path cannot reach \S+: nftables cannot be used here/,
    hint: /--via kernel/,
  })
})

test.each(['ip', 'flock'])('without %s there is no daemon, and nothing of one is left', async tool => {
  await arrange({ without: [tool] })
  for (const args of [['daemon'], ['ls']]) {
    const { exitCode, stdout, stderr } = await portctl.run(args)
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' })
    expect(stderr.match(/^portctl: .*$/gm)).toEqual([
      `portctl: '${tool}' is not installed or not in PATH [tool-missing]`,
    ])
  }
  expect(existsSync(join(portctl.runDir, 'portctl.sock'))).toBe(false)
  expect(await pidsInNetns(lab().host.path)).toEqual([])
})
