/** The daemon, its relay, its directories and its disk fail: the command under way says so, and what stands is what was acknowledged. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLab, type Lab, waitFor } from '../lab/lab.ts'
import { PORTCTL } from '../lab/portctl.ts'
import { type Box, call, createInstance, type Instance, startBox } from '../paths/bed.ts'
import { apiOf, expectFailure, type Failure, picture, refused, unchanged } from './failures.ts'
import { createToolbox } from './toolbox.ts'

let laboratory: Lab
let portctl: Instance
const lab = () => laboratory

beforeEach(async () => {
  laboratory = await createLab()
  portctl = await createInstance(lab())
})
afterEach(() => laboratory.dispose())

/** Bytes, or for a listener connections, that wait to be read from a unix socket. */
const waitingAt = async (socket: string): Promise<number> => {
  const lines = (await lab().sh(lab().host, 'ss', '-xaH')).split('\n').filter(line => line.includes(socket))
  return Math.max(0, ...lines.map(line => Number(line.trim().split(/\s+/)[2])))
}

const GONE: Failure = {
  code: 'daemon-gone',
  says: /the portctl daemon went away in the middle of 'Publish ports': the outcome is unknown/,
  hint: /see 'portctl ls' and 'portctl ps'/,
}

describe('the daemon is killed in the middle of a publish', () => {
  test('before it has read the request', async () => {
    await portctl.start()
    const web = await startBox(lab(), portctl, 'web')
    await portctl.ok('publish', '8081:80', '--to', web.name)
    const before = await picture(lab(), portctl)
    process.kill((await apiOf(portctl).status()).pid, 'SIGSTOP')
    const publishing = portctl.run(['publish', '8080:80', '--to', web.name])
    // One connection looked whether a daemon answers; the next one is the request.
    await waitFor('the request', async () => (await waitingAt('portctl.sock')) >= 2)
    await portctl.stop('SIGKILL')
    expectFailure(await publishing, GONE)
    await portctl.start()
    expect(await picture(lab(), portctl)).toEqual(before)
    expect((await call(lab(), lab().lan, lab().host.ipv4, 8081)).client).toBe(lab().lan.ipv4)
  })

  test('between listeners and rules', async () => {
    const tools = createToolbox(lab())
    portctl = await createInstance(lab(), lab().host, { env: { PATH: tools.path } })
    await portctl.start()
    const web = await startBox(lab(), portctl, 'web')
    const before = await picture(lab(), portctl)
    tools.hold()
    const publishing = portctl.run(['publish', '8080:80', '8081:80/udp', '--to', web.name])
    await waitFor('nft to be asked', () => tools.holding)
    await portctl.stop('SIGKILL')
    expectFailure(await publishing, GONE)
    tools.release('failing')
    await portctl.start()
    expect(await picture(lab(), portctl)).toEqual(before)
  })
})

test('the relay is killed in the middle of a publish: refused, and all else is back by itself', async () => {
  await portctl.start()
  const web = await startBox(lab(), portctl, 'web')
  await portctl.ok('publish', '8081:80', '--to', web.name, '--via', 'relay')
  const before = await picture(lab(), portctl)
  const { relayPid } = await apiOf(portctl).status()
  process.kill(relayPid as number, 'SIGSTOP')
  const publishing = portctl.run(['publish', '8080:80', '--to', web.name])
  await waitFor('the relay to be asked', async () => (await waitingAt('relay.sock')) > 0)
  process.kill(relayPid as number, 'SIGKILL')
  expectFailure(await publishing, {
    code: 'relay-unavailable',
    says: /the relay process is not there/,
    hint: /control starts another one by itself: try again/,
  })
  const reached = () =>
    call(lab(), lab().lan, lab().host.ipv4, 8081).then(
      () => true,
      () => false,
    )
  await waitFor('another relay', reached)
  expect(await picture(lab(), portctl)).toEqual(before)
  await portctl.ok('publish', '8080:80', '--to', web.name)
})

test('the relay is killed while the rules of a publish are made: its listeners are in the next relay', async () => {
  const tools = createToolbox(lab())
  portctl = await createInstance(lab(), lab().host, { env: { PATH: tools.path } })
  await portctl.start()
  const web = await startBox(lab(), portctl, 'web')
  await portctl.ok('publish', '8081:80', '--to', web.name)
  const { relayPid } = await apiOf(portctl).status()
  tools.hold()
  const publishing = portctl.run(['publish', '8080:80', '--to', web.name])
  await waitFor('nft to be asked', () => tools.holding)
  process.kill(relayPid as number, 'SIGKILL')
  await waitFor(
    'another relay',
    async () => ![null, relayPid].includes((await apiOf(portctl).status()).relayPid),
  )
  tools.release('let through')
  expect((await publishing).exitCode).toBe(0)
  await waitFor('its listeners', async () => {
    const { listeners } = await picture(lab(), portctl)
    return ['0.0.0.0:8080', '[::]:8080', '0.0.0.0:8081', '[::]:8081'].every(at =>
      listeners.includes(`tcp LISTEN ${at}`),
    )
  })
})

describe('two daemons', () => {
  const second = (env: Readonly<Record<string, string>>, ...args: readonly string[]) =>
    unchanged(lab(), portctl, () => portctl.run(args, { env }))

  test('on one run directory, on one state directory', async () => {
    await portctl.start()
    const { pid } = await apiOf(portctl).status()
    const elsewhere = join(dirname(portctl.runDir), 'elsewhere')
    for (const PORTCTL_STATE_DIR of [portctl.stateDir, elsewhere])
      expectFailure(await second({ PORTCTL_STATE_DIR }, 'daemon'), {
        code: 'daemon-running',
        says: new RegExp(`a portctl daemon is already running on ${portctl.runDir} \\(pid ${pid}\\)`),
        hint: /PORTCTL_RUN_DIR/,
      })
    // As its own command, and started by one that needs a daemon.
    for (const verb of ['daemon', 'ls'])
      expectFailure(await second({ PORTCTL_RUN_DIR: elsewhere }, verb), {
        code: 'state-in-use',
        says: new RegExp(`state in ${portctl.stateDir} is in use by another daemon \\(pid ${pid}\\)`),
        hint: /PORTCTL_STATE_DIR/,
      })
    expect(readdirSync(elsewhere).filter(file => file.endsWith('.sock'))).toEqual([])
  })
})

describe('what a killed daemon leaves in the run directory', () => {
  test('sockets that nobody serves, and a file in place of one, are replaced', async () => {
    await portctl.start()
    const web = await startBox(lab(), portctl, 'web')
    await portctl.ok('publish', '8080:80', '--to', web.name)
    const { relayPid } = await apiOf(portctl).status()
    await portctl.stop('SIGKILL')
    process.kill(relayPid as number, 'SIGKILL')
    await waitFor('its end', () => !existsSync(`/proc/${relayPid}`))
    expect(readdirSync(portctl.runDir)).toEqual(expect.arrayContaining(['portctl.sock', 'relay.sock']))
    const { exitCode, stdout, stderr } = await portctl.run(['publish', '8081:80', '-q'])
    expect({ exitCode, stdout, stderr }).toEqual({
      exitCode: 0,
      stdout: expect.stringMatching(/^[0-9a-f]{12}\n$/),
      stderr: '',
    })
    for (const port of [8080, 8081]) expect((await call(lab(), lab().host, '::1', port)).name).toBe('web')

    const { pid } = await apiOf(portctl).status()
    process.kill(pid, 'SIGKILL')
    await waitFor('its end', () => !existsSync(`/proc/${pid}`))
    rmSync(join(portctl.runDir, 'portctl.sock'))
    writeFileSync(join(portctl.runDir, 'portctl.sock'), '')
    await portctl.start()
    expect(await apiOf(portctl).listPublications()).toHaveLength(2)
  })
})

describe('directories that cannot be used', () => {
  const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']

  test.each([
    ['the run directory is a file', 'PORTCTL_RUN_DIR', (home: string) => join(home, 'file')],
    ['the run directory is below a file', 'PORTCTL_RUN_DIR', (home: string) => join(home, 'file/run')],
    ['the run directory cannot be made', 'PORTCTL_RUN_DIR', () => '/sys/portctl'],
    ['the state directory is a file', 'PORTCTL_STATE_DIR', (home: string) => join(home, 'file')],
    ['the state directory cannot be made', 'PORTCTL_STATE_DIR', () => '/sys/portctl'],
    [
      "the run directory's name is too long for a socket",
      'PORTCTL_RUN_DIR',
      (home: string) => join(home, 'x'.repeat(120)),
    ],
  ])('%s', async (_, variable, directory) => {
    const home = dirname(portctl.runDir)
    writeFileSync(join(home, 'file'), '')
    const path = directory(home)
    const run = (verb: string) => portctl.run([verb], { env: { [variable]: path } })
    const noSocket = path.includes('/file') && variable === 'PORTCTL_RUN_DIR'
    if (noSocket)
      expectFailure(await run('ls'), {
        code: 'daemon-unreachable',
        says: new RegExp(`no portctl daemon answers on ${path}/portctl.sock: not a directory`),
        hint: /PORTCTL_RUN_DIR/,
      })
    for (const verb of noSocket ? ['daemon'] : ['daemon', 'ls'])
      expectFailure(await run(verb), {
        code: 'state-unreadable',
        says: new RegExp(`cannot open ${path}(/\\S+)?: .`),
        hint: /PORTCTL_RUN_DIR and PORTCTL_STATE_DIR/,
      })
  })

  test('another user may not write there', async () => {
    const home = dirname(portctl.runDir)
    mkdirSync(portctl.runDir, { mode: 0o755 })
    const [file, ...args] = NOBODY
    const { env } = portctl
    // The laboratory's own directory is private.
    await lab().sh(lab().host, 'chmod', '755', home)
    for (const verb of ['daemon', 'ls'])
      expectFailure(
        await lab().exec(lab().host, file as string, [...args, process.execPath, PORTCTL, verb], { env }),
        { code: 'state-unreadable', says: /cannot open \S+: permission denied/, hint: /run as root/ },
      )
    expect(readdirSync(portctl.runDir)).toEqual([])
  })

  test('a daemon of another user may not be talked to', async () => {
    await portctl.start()
    await lab().sh(lab().host, 'chmod', '755', dirname(portctl.runDir))
    const [file, ...args] = NOBODY
    const outcome = await unchanged(lab(), portctl, () =>
      lab().exec(lab().host, file as string, [...args, process.execPath, PORTCTL, 'publish', '80'], {
        env: portctl.env,
      }),
    )
    expectFailure(outcome, {
      code: 'daemon-unreachable',
      says: /no portctl daemon answers on \S+portctl.sock: permission denied/,
      hint: /as root/,
    })
  })
})

describe('no space left for the state', () => {
  let web: Box

  beforeEach(async () => {
    // Sixteen pages, in a mount namespace of the daemon's own.
    portctl = await createInstance(lab(), lab().host, {
      within: [
        // Namespaces made in /run/netns are still to be seen outside.
        ...['unshare', '--mount', '--propagation=unchanged', 'sh', '-ec'],
        `mkdir -p "$PORTCTL_STATE_DIR"
        mount --make-private "$(findmnt -no TARGET -T "$PORTCTL_STATE_DIR")"
        mount -t tmpfs -o size=64k tmpfs "$PORTCTL_STATE_DIR"
        exec "$@"`,
        'sh',
      ],
    })
    await portctl.start()
    web = await startBox(lab(), portctl, 'web')
  })

  test('a change that cannot be made durable is not made; with space again it is', async () => {
    await portctl.ok('publish', '8080:80', '--to', web.name)
    const { pid } = await apiOf(portctl).status()
    const filler = join(`/proc/${pid}/root`, portctl.stateDir, 'filler')
    const fill = () => {
      expect(() => writeFileSync(filler, Buffer.alloc(1 << 20))).toThrow(/ENOSPC/)
    }
    const failure: Failure = {
      code: 'state-write-failed',
      says: new RegExp(`cannot write state to ${portctl.stateDir}/journal: no space left on device`),
      hint: /free space .*: nothing was changed/,
    }
    fill()
    // More than may still fit into the last page.
    const specs = Array.from({ length: 24 }, (_, i) => `${9000 + i}:80`)
    await refused(lab(), portctl, ['publish', '--to', web.name, ...specs], failure)
    const arg = 'x'.repeat(8192)
    await refused(lab(), portctl, ['run', '-d', '-p', '9100:80', '--', 'sleep', '600', arg], failure)
    expect((await call(lab(), lab().lan, lab().host.ipv4, 8080)).client).toBe(lab().lan.ipv4)
    rmSync(filler)
    await portctl.ok('publish', '--to', web.name, ...specs)
    expect(await apiOf(portctl).listPublications()).toHaveLength(25)
  })
})

test('a damaged journal is left as it is, and no daemon starts on it', async () => {
  await portctl.start()
  await portctl.ok('publish', '8080:80', '8081:80', '--to', lab().lan.ipv4)
  await portctl.ok('unpublish', '8080')
  await portctl.stop('SIGKILL')
  const journal = join(portctl.stateDir, 'journal')
  await lab().sh(lab().host, 'sed', '-i', '2s/8080/8088/', journal)
  expectFailure(await portctl.run(['ls']), {
    code: 'state-corrupt',
    says: new RegExp(`state file ${journal} is damaged at byte \\d+`),
    hint: new RegExp(`restore ${journal} from a backup, or move it away`),
  })
  // What it served goes on: the relay is nobody's to end.
  expect(existsSync(join(portctl.runDir, 'relay.sock'))).toBe(true)
})
