/** What others do to a daemon, at the worst moment: a second daemon, a removal during a start, a relay that hangs, an emptied table. */
import { existsSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { connect } from '../../src/api/client.ts'
import { createLab, type Lab, waitFor } from '../lab/lab.ts'
import { call, createInstance, type Instance, startBox } from '../paths/bed.ts'
import { fingerprint } from './fingerprint.ts'

let lab: Lab
let portctl: Instance
beforeEach(async () => {
  lab = await createLab()
  portctl = await createInstance(lab)
  await portctl.start()
})
afterEach(() => lab.dispose())

test('a second daemon in the same network namespace is refused, and touches nothing', async () => {
  const web = await startBox(lab, portctl, 'web')
  await portctl.ok('publish', '8080:80', '--to', web.name)
  const before = await fingerprint(lab, lab.host)
  const second = await createInstance(lab)
  const { exitCode, stderr } = await second.run(['daemon'])
  expect(exitCode).toBe(1)
  expect(stderr).toMatch(
    /another portctl daemon \(pid \d+\) already serves this network namespace \[namespace-served\]/,
  )
  expect(await fingerprint(lab, lab.host)).toEqual(before)
  const elsewhere = await createInstance(lab, lab.lan)
  await elsewhere.start()
})

test('a container removed while its command starts does not come back, and its command is ended', async () => {
  const api = connect({ runDir: portctl.runDir })
  for (let round = 0; round < 6; round++) {
    const name = portctl.name(`ghost-${round}`)
    const running = api
      .run({ name, command: ['/bin/sleep', '654321'], detach: true, autoRemove: false, env: {}, cwd: '/' })
      .then(
        () => 'run' as const,
        (error: { code: string }) => error.code,
      )
    await waitFor('a removal', () =>
      api.remove(name, true).then(
        () => true,
        () => false,
      ),
    )
    expect(['run', 'container-not-found']).toContain(await running)
    expect((await api.listContainers()).map(container => container.name)).not.toContain(name)
    expect(existsSync(`/run/netns/${name}`)).toBe(false)
  }
  const { stdout } = await lab.exec(lab.host, 'pgrep', ['-f', 'sleep 654321'])
  expect(stdout).toBe('')
})

test('listeners that a relay opened too late to answer are closed again', { timeout: 60_000 }, async () => {
  const { relayPid } = await portctl.json<{ relayPid: number }>('status')
  process.kill(relayPid, 'SIGSTOP')
  const { exitCode, stderr } = await portctl.run(['publish', '7777:80'], { timeout: 50_000 })
  process.kill(relayPid, 'SIGCONT')
  expect(exitCode).toBe(1)
  expect(stderr).toContain('[relay-timeout]')
  await waitFor('the listeners to go', async () => !(await lab.sh(lab.host, 'ss', '-Hltn')).includes(':7777'))
  await portctl.ok('publish', '7777:80')
})

test('a table whose rules were flushed gets them back, guards included', async () => {
  const web = await startBox(lab, portctl, 'web')
  await portctl.ok('publish', '8080:80', '--to', web.name)
  const before = await fingerprint(lab, lab.host)
  await lab.sh(lab.host, 'nft', 'flush', 'table', 'inet', 'portctl')
  await waitFor(
    'the kernel path',
    async () => (await call(lab, lab.lan, lab.host.ipv4, 8080)).client === lab.lan.ipv4,
  )
  expect(await fingerprint(lab, lab.host)).toEqual(before)
})
