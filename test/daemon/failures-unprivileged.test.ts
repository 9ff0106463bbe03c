/** A daemon without privileges, and one that may open few files: what it can do it does, what it can't it refuses whole. */
import { chmodSync, chownSync, readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { createLab, type Lab, waitFor } from '../lab/lab.ts'
import { call, createInstance, type Instance } from '../paths/bed.ts'
import { apiOf, picture, refused } from './failures.ts'

const NOBODY = 65_534
/** Open files. */
const LIMIT = 256
/** More than LIMIT allows one data-path thread, at two descriptors each. */
const CONNECTIONS = 200
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] as const

const createUnprivileged = async (
  lab: Lab,
  { engine, before = [] }: { readonly engine: string; readonly before?: readonly string[] },
): Promise<Instance> => {
  const portctl = await createInstance(lab, lab.host, {
    args: ['--engine', engine, '--workers', '1'],
    within: [...before, ...AS_NOBODY],
  })
  const home = dirname(portctl.runDir)
  chownSync(home, NOBODY, NOBODY)
  chmodSync(home, 0o755)
  await portctl.start()
  return portctl
}

describe.each(['splice', 'node'] as const)('another user than root, engine %s', engine => {
  const lab = useLab()
  let portctl: Instance

  beforeAll(async () => {
    portctl = await createUnprivileged(lab(), { engine })
    for (const kind of ['who', 'udp'] as const)
      await lab().serve(lab().lan, { kind, host: lab().lan.ipv4, port: 7000, name: 'service' })
  })

  test('publishes by the relay to an address, and says that it is the relay', async () => {
    const target = lab().lan.ipv4
    for (const protocol of ['tcp', 'udp'] as const) {
      const outcome = await portctl.run(['publish', `8080:7000/${protocol}`, '--to', target, '--json'])
      expect(outcome).toMatchObject({
        exitCode: 0,
        stderr: expect.stringMatching(
          /^the relay alone carries the traffic, and clients' addresses are not kept: nft: no permission: .*\n$/,
        ),
      })
      expect(JSON.parse(outcome.stdout)).toMatchObject([{ via: 'relay', state: 'active', target }])
      expect((await call(lab(), lab().lan, lab().host.ipv4, 8080, protocol)).client).toBe(lab().host.ipv4)
    }
    await portctl.ok('unpublish', '--all')
  })

  test('a privileged port is denied, alone and among others', async () => {
    const to = ['--to', lab().lan.ipv4]
    for (const specs of [['80:7000'], ['8080:7000', '53:7000/udp']])
      await refused(lab(), portctl, ['publish', ...specs, ...to], {
        code: 'port-denied',
        says: /not allowed to listen on 0\.0\.0\.0:(80\/tcp|53\/udp)/,
        hint: /CAP_NET_BIND_SERVICE/,
      })
  })

  test('containers, the kernel path and foreign namespaces are refused', async () => {
    for (const flags of [['-d'], []])
      await refused(lab(), portctl, ['run', ...flags, '-p', '8080:80', '--', 'true'], {
        code: 'not-permitted',
        says: /a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN/,
        hint: /run the daemon as root/,
      })
    await refused(lab(), portctl, ['publish', '8080:7000', '--to', lab().lan.ipv4, '--via', 'kernel'], {
      code: 'via-unavailable',
      says: /nftables cannot be used here/,
      hint: /--via kernel/,
    })
    for (const to of ['pid:1', `netns:${lab().lan.name}`])
      await refused(lab(), portctl, ['publish', '8080:7000', '--to', to], {
        code: 'not-permitted',
        says: new RegExp(`connecting from inside ${to} needs CAP_SYS_ADMIN`),
        hint: /run the daemon as root/,
      })
  })

  test('comes back after SIGKILL, and ends cleanly', async () => {
    await portctl.ok('publish', '8090:7000', '--to', lab().lan.ipv4)
    const before = await picture(lab(), portctl)
    await portctl.stop('SIGKILL')
    await portctl.start()
    expect(await picture(lab(), portctl)).toEqual(before)
    expect((await call(lab(), lab().lan, lab().host.ipv4, 8090)).name).toBe('service')
    expect(await portctl.stop()).toBe(0)
  })
})

describe.each(['splice', 'node'] as const)('few files may be open, engine %s', engine => {
  let laboratory: Lab
  let portctl: Instance
  const lab = () => laboratory

  beforeEach(async () => {
    laboratory = await createLab()
    portctl = await createUnprivileged(lab(), {
      engine,
      before: ['prlimit', `--nofile=${LIMIT}:${LIMIT}`, '--'],
    })
  })
  afterEach(() => laboratory.dispose())

  test('a range that needs more is refused whole; what fits is published', async () => {
    const to = ['--to', lab().lan.ipv4]
    await refused(lab(), portctl, ['publish', '10000-19999:10000-19999', ...to], {
      code: 'fd-limit',
      says: new RegExp(`\\d+ more file descriptors are needed; the limit of the process is ${LIMIT}`),
      hint: /raise the hard limit of open files/,
    })
    await portctl.ok('publish', '9000-9019:9000-9019', ...to)
    expect(await apiOf(portctl).listPublications()).toMatchObject([{ hostPort: 9000, hostPortEnd: 9019 }])
  })

  // The portable engine can't leave a connection in the backlog; it resets it (tcp.ts).
  if (engine === 'node') return

  test('connections beyond it wait, and others go on', async () => {
    const { host, lan } = lab()
    await lab().serve(lan, { kind: 'who', host: lan.ipv4, port: 7000 })
    await portctl.ok('publish', '8080:7000', '--to', lan.ipv4)
    const { relayPid } = await apiOf(portctl).status()
    const crowd = lab().spawn(lan, process.execPath, ['-e', CROWD, host.ipv4, '8080', String(CONNECTIONS)])
    const said = createInterface({ input: crowd.stdout })[Symbol.asyncIterator]()
    // Some are kept back for control.
    await waitFor('the relay to have no descriptor left', () =>
      readdirSync(`/proc/${relayPid}/task`).some(
        thread => readdirSync(`/proc/${relayPid}/task/${thread}/fd`).length > LIMIT - 80,
      ),
    )
    // Commands get through, and those that are served go on.
    expect(await portctl.json('status')).toMatchObject({ relayPid })
    crowd.stdin.write('echo\n')
    const { value } = await said.next()
    const echoed = Number(value)
    expect(echoed).toBeGreaterThan(32)
    expect(echoed).toBeLessThan(CONNECTIONS)
    crowd.stdin.write('leave\n')
    expect((await said.next()).value).toBe('all were served')
  })
})

/**
 * argv: host, port, number. Connects so often at once. `echo`: says how many were greeted, once each of those has had an
 * answer. `leave`: hangs up wherever it has been greeted; says so when all have been.
 */
const CROWD = `
const [host, port, number] = process.argv.slice(1)
const net = require('net')
const greeted = new Set()
let served = 0, leaving = false
for (let i = 0; i < Number(number); i++) {
  const socket = net.connect({ host, port: Number(port) })
  socket.on('error', error => { console.log(error.message); process.exit(1) })
  socket.once('data', () => {
    served++
    greeted.add(socket)
    if (leaving) leave(socket)
  })
}
const leave = socket => { socket.end(); if (served === Number(number)) { console.log('all were served'); process.exit() } }
const echo = socket => new Promise(done => { socket.once('data', done); socket.write('x') })
require('readline').createInterface({ input: process.stdin }).on('line', async line => {
  if (line === 'echo') { const now = [...greeted]; await Promise.all(now.map(echo)); console.log(now.length) }
  else { leaving = true; for (const socket of greeted) leave(socket) }
})
`
