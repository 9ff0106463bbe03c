/** From start to end: detached commands, stop, rm, what becomes of the children, a killed daemon, a reboot. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fingerprint } from '../daemon/fingerprint.ts'
import { createLab, type Lab, waitFor } from '../lab/lab.ts'
import type { Instance } from '../lab/portctl.ts'
import { call, startBox } from '../paths/bed.ts'
import { bare, type ContainerRow, placeOf, rowOf, startContainer, startedInstance } from './bed.ts'

let laboratory: Lab
let portctl: Instance
const lab = () => laboratory

beforeEach(async () => {
  laboratory = await createLab()
  portctl = await startedInstance(laboratory)
})
afterEach(() => laboratory.dispose())

interface Detail extends ContainerRow {
  readonly exitCode: number | null
  readonly logFile: string | null
}
const inspect = (name: string): Promise<Detail> => portctl.json<Detail>('inspect', name)

/** A bridge loses its carrier some time after its last port. */
const picture = async () => {
  const { routes, ...rest } = await fingerprint(lab(), lab().host)
  return { ...rest, routes: routes.map(route => route.replace(/ linkdown$/, '')) }
}

const exited = (name: string): Promise<Detail> =>
  waitFor(`the end of ${name}`, async () => {
    const detail = await inspect(name)
    return detail.status === 'exited' && detail
  })

const pidsInside = async (name: string): Promise<readonly string[]> =>
  (await lab().sh(lab().host, 'ip', 'netns', 'pids', name)).split('\n').filter(line => line !== '')

/** A shell with a child in the background and a grandchild in a session of its own, both of which ignore SIGTERM. */
const FAMILY = [
  'sh',
  '-c',
  `trap '' TERM; sh -c 'sleep 600 & wait' & setsid sh -c 'trap "" TERM HUP; sleep 600; sleep 600' & trap 'exit 5' TERM; wait`,
]

test('-d: the command outlives the command line and the daemon; its status and output are kept', async () => {
  const name = await startContainer(portctl, 'long', [], ['sh', '-c', 'echo started in $PWD; exec sleep 600'])
  const { pid, status } = await inspect(name)
  expect(status).toBe('running')
  expect(existsSync(`/proc/${pid}`)).toBe(true)
  await portctl.stop('SIGKILL')
  expect(existsSync(`/proc/${pid}`)).toBe(true)
  await portctl.start()
  const after = await inspect(name)
  expect(after).toMatchObject({ status: 'running', pid })
  expect(await lab().sh(lab().host, 'cat', after.logFile as string)).toBe(`started in ${process.cwd()}\n`)
  // The next daemon is not its parent, and learns of its end all the same.
  process.kill(pid as number, 'SIGKILL')
  expect(await exited(name)).toMatchObject({ pid: null, exitCode: null })

  const failing = await startContainer(portctl, 'failing', [], ['sh', '-c', 'exit 7'])
  expect(await exited(failing)).toMatchObject({ pid: null, exitCode: 7 })
  const killed = await startContainer(portctl, 'killed', [], ['sh', '-c', 'kill -USR1 $$'])
  expect((await exited(killed)).exitCode).toBe(128 + 10)
})

test('-d --rm: nothing is left when the command has ended by itself', async () => {
  await portctl.ok('run', '--rm', '--', 'true')
  const before = await picture()
  const name = await startContainer(portctl, 'brief', ['--rm', '-p', '8080:80'], ['sleep', '0.3'])
  await waitFor('its end', async () => (await rowOf(portctl, name)) === undefined)
  await waitFor('its namespace to go', () => !existsSync(`/run/netns/${name}`))
  await waitFor('its files to go', () => readdirSync(join(portctl.stateDir, 'containers')).length === 0)
  expect(await portctl.json('ls')).toEqual([])
  expect(await picture()).toEqual(before)
})

test('stop: SIGTERM is honoured, with its status; what is left inside is killed', async () => {
  const name = await startContainer(portctl, 'family', [], FAMILY)
  await waitFor('the whole family', async () => (await pidsInside(name)).length >= 5)
  expect(await portctl.ok('stop', name)).toBe(`${name}\n`)
  expect(await inspect(name)).toMatchObject({ status: 'exited', pid: null, exitCode: 5 })
  expect(await pidsInside(name)).toEqual([])
  expect(existsSync(`/run/netns/${name}`)).toBe(true)
  // Once more is no error; neither is a name beside one that is unknown.
  const again = await portctl.run(['stop', name, 'no-such-container'])
  expect(again).toMatchObject({ exitCode: 1, stdout: `${name}\n` })
  expect(again.stderr).toContain('[container-not-found]')
})

test('stop -t: SIGKILL when the time is over', async () => {
  const name = await startContainer(
    portctl,
    'deaf',
    [],
    ['sh', '-c', `trap '' TERM; while :; do sleep 0.1; done`],
  )
  await portctl.ok('stop', '-t', '0.3', name)
  expect(await inspect(name)).toMatchObject({ status: 'exited', exitCode: 128 + 9 })
  expect(await pidsInside(name)).toEqual([])
  expect((await portctl.run(['stop', '-t', 'soon', name])).exitCode).toBe(2)
})

test('stop ends what a command left behind that has ended itself', async () => {
  const name = await startContainer(portctl, 'left', [], ['sh', '-c', 'sleep 600 & exit 0'])
  await exited(name)
  expect(await pidsInside(name)).toHaveLength(1)
  await portctl.ok('stop', name)
  expect(await pidsInside(name)).toEqual([])
})

test('rm refuses a running container; -f takes it with its children, publications, links and files', async () => {
  await portctl.ok('run', '--rm', '--', 'true')
  const before = await picture()
  const name = await startContainer(portctl, 'family', ['-p', '8080:80'], FAMILY)
  await waitFor('the whole family', async () => (await pidsInside(name)).length >= 5)
  const inside = await pidsInside(name)
  const refused = await portctl.run(['rm', name])
  expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('[container-running]') })
  expect((await rowOf(portctl, name))?.status).toBe('running')

  expect(await portctl.ok('rm', '-f', name)).toBe(`${name}\n`)
  for (const pid of inside) await waitFor(`the end of ${pid}`, () => !existsSync(`/proc/${pid}`))
  expect(existsSync(`/run/netns/${name}`)).toBe(false)
  expect(await portctl.json('ps')).toEqual([])
  expect(await portctl.json('ls')).toEqual([])
  expect(readdirSync(join(portctl.stateDir, 'containers'))).toEqual([])
  expect(readdirSync(join(portctl.runDir, 'containers'))).toEqual([])
  expect(await picture()).toEqual(before)
})

test('rm -f does not wait for a command that ignores SIGTERM, and takes one with --rm too', async () => {
  const deaf = ['sh', '-c', `trap '' TERM; while :; do sleep 0.1; done`]
  const names = [
    await startContainer(portctl, 'deaf', [], deaf),
    await startContainer(portctl, 'deaf-rm', ['--rm'], deaf),
  ]
  const began = performance.now()
  expect(await portctl.ok('rm', '-f', ...names)).toBe(`${names.join('\n')}\n`)
  // One alone would have had ten seconds.
  expect(performance.now() - began).toBeLessThan(9_000)
  expect(await portctl.json('ps')).toEqual([])
})

test('the end of the daemon takes containers of every kind', async () => {
  const names = [
    await startContainer(portctl, 'plain'),
    await startContainer(portctl, 'auto', ['--rm']),
    await startContainer(portctl, 'family', [], FAMILY),
    await startContainer(portctl, 'done', [], ['true']),
    await startContainer(portctl, 'alone', ['--network', 'none']),
  ]
  expect(await portctl.stop()).toBe(0)
  expect(names.filter(name => existsSync(`/run/netns/${name}`))).toEqual([])
})

test('after a reboot the records are back, the publications in force, the containers exited', async () => {
  const { host, lan } = lab()
  const web = await startBox(lab(), portctl, 'web')
  const alone = await startContainer(portctl, 'alone', ['--network', 'none'])
  await portctl.ok('publish', '8080:80', '20000-20010:20000-20010', '--to', web.name)
  await portctl.ok('publish', '8081:80', '--to', web.name, '--via', 'relay')
  const place = await placeOf(portctl, web.name)
  const asked = await portctl.json<{ id: string }[]>('ls')
  const { relayPid } = await portctl.json<{ relayPid: number }>('status')

  await portctl.stop('SIGKILL')
  process.kill(relayPid, 'SIGKILL')
  await waitFor('the end of the relay', () => !existsSync(`/proc/${relayPid}`))
  for (const name of [web.name, alone]) {
    for (const pid of await pidsInside(name)) process.kill(Number(pid), 'SIGKILL')
    await lab().sh(host, 'ip', 'netns', 'del', name)
  }
  const veths = (await lab().sh(host, 'ip', '-br', 'link', 'show', 'type', 'veth')).match(/^veth\w+/gm) ?? []
  // The kernel destroys a namespace, and its end of the veth pair, some time after its last process has gone.
  for (const veth of veths) await lab().exec(host, 'ip', ['link', 'del', veth])
  await lab().sh(host, 'ip', 'link', 'del', 'portctl0')
  await lab().sh(host, 'nft', 'flush', 'ruleset')
  await lab().sh(
    host,
    'sysctl',
    '-qw',
    'net.ipv4.conf.eth0.forwarding=0',
    'net.ipv6.conf.eth0.force_forwarding=0',
  )
  await lab().sh(host, 'rm', '-rf', portctl.runDir)

  await portctl.start()
  expect((await portctl.json<ContainerRow[]>('ps')).map(row => [row.name, row.status, row.pid])).toEqual([
    [web.name, 'exited', null],
    [alone, 'exited', null],
  ])
  expect(await placeOf(portctl, web.name)).toEqual(place)
  expect((await portctl.json<{ id: string }[]>('ls')).map(({ id }) => id)).toEqual(asked.map(({ id }) => id))
  await expect(call(lab(), lan, host.ipv4, 8080)).rejects.toThrow()
  // Whatever serves in the namespace now is reached as before.
  for (const address of ['0.0.0.0', '::'])
    await lab().serve(web.name, { kind: 'who', host: address, port: 80, name: 'again' })
  expect(await call(lab(), lan, host.ipv4, 8080)).toMatchObject({ name: 'again', client: lan.ipv4 })
  expect(await call(lab(), lan, host.ipv6, 8080)).toMatchObject({ name: 'again', client: lan.ipv6 })
  expect(await call(lab(), lan, host.ipv4, 8081)).toMatchObject({ name: 'again', client: place.gateway })
  // And its address is its own.
  const another = await startContainer(portctl, 'another')
  expect((await placeOf(portctl, another)).ipv4).not.toBe(place.ipv4)
  expect((await lab().exec(another, 'ping', ['-c1', '-W2', bare(place.ipv4)])).exitCode).toBe(0)
})
