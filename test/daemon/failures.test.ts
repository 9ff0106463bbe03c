/** Requests that cannot be granted: one clear line each, and nothing is changed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { waitFor } from '../lab/lab.ts'
import { PORTCTL } from '../lab/portctl.ts'
import { type Box, call, createInstance, type Instance, startBox } from '../paths/bed.ts'
import { apiOf, type Failure, picture, refused } from './failures.ts'

const lab = useLab()
let portctl: Instance
let web: Box

beforeAll(async () => {
  portctl = await createInstance(lab())
  await portctl.start()
  web = await startBox(lab(), portctl, 'web')
  await lab().sh(lab().host, 'ip', 'route', 'add', 'unreachable', '203.0.113.0/24')
  await lab().sh(lab().host, 'ip', 'route', 'add', 'blackhole', '2001:db8:dead::/48')
})

afterEach(async () => {
  await apiOf(portctl).unpublish({ all: true })
})

/** A process that has ended; its pid is not given out again so soon. */
const endedPid = async (): Promise<number> => {
  const child = spawn('true')
  await once(child, 'exit')
  return child.pid as number
}

describe('a target that is not there', () => {
  test.each<[string, readonly string[]]>([
    ['publish', ['publish', '8080:80', '--to', 'nobody']],
    ['publish, for a program', ['publish', '--json', '8080:80', '--to', 'nobody']],
    ['port', ['port', 'nobody']],
    ['stop', ['stop', 'nobody']],
    ['exec', ['exec', 'nobody', '--', 'true']],
  ])('%s: an unknown container', async (_, args) => {
    await refused(lab(), portctl, args, {
      code: 'container-not-found',
      says: /no container 'nobody'/,
      hint: new RegExp(`there are: ${web.name}$`),
    })
  })

  test('inspect: nothing of that name', async () => {
    await refused(lab(), portctl, ['inspect', 'nobody'], {
      code: 'not-found',
      says: /nothing is called 'nobody'/,
      hint: /portctl ps/,
    })
  })

  test.each([
    ['203.0.113.9', /this host cannot reach 203\.0\.113\.9: no route to host/],
    ['[2001:db8:dead::1]', /this host cannot reach 2001:db8:dead::1: (blackhole|invalid argument)/],
  ])('an address without a route: %s', async (address, says) => {
    await refused(lab(), portctl, ['publish', '8080:80', '--to', address], {
      code: 'target-unreachable',
      says,
    })
  })

  test('a process that has ended', async () => {
    const pid = await endedPid()
    await refused(lab(), portctl, ['publish', '8080:80', '--to', `pid:${pid}`], {
      code: 'target-gone',
      says: new RegExp(`pid:${pid}: there is no such process`),
    })
  })

  test('a network namespace that is not there, and a file that is none', async () => {
    const file = join(portctl.stateDir, 'journal')
    for (const [to, path] of [
      ['netns:pct-nowhere', '/run/netns/pct-nowhere'],
      [`netns:${file}`, file],
    ] as const)
      await refused(lab(), portctl, ['publish', '8080:80', '--to', to], {
        code: 'target-gone',
        says: new RegExp(`${to}: there is no network namespace at ${path}`),
      })
  })

  test('which one of several', async () => {
    const name = portctl.name('other')
    await portctl.ok('run', '-d', '--name', name, '--network', 'none', '--', 'sleep', '600')
    await refused(lab(), portctl, ['publish', '8080:80'], {
      code: 'target-ambiguous',
      says: new RegExp(`several containers could be meant: (${web.name}, ${name}|${name}, ${web.name}) `),
      hint: /--to NAME/,
    })
    await portctl.ok('rm', '-f', name)
  })

  test('its own listening port', async () => {
    await refused(lab(), portctl, ['publish', '8080:8080', '--to', '127.0.0.1'], {
      code: 'target-loop',
      says: /127\.0\.0\.1:8080 would be reached through the very port/,
      hint: /--to/,
    })
  })

  test('its own listening port, by the name of its own namespace', async () => {
    const { pid } = await portctl.json<{ pid: number }>('status')
    for (const to of [`netns:/proc/${pid}/ns/net`, `pid:${pid}`])
      await refused(lab(), portctl, ['publish', '127.0.0.1:8080:8080', '--to', to], {
        code: 'target-loop',
        says: /127\.0\.0\.1:8080 would be reached through the very port/,
        hint: /--to/,
      })
  })

  test('the kernel path to what is off our bridges', async () => {
    await refused(lab(), portctl, ['publish', '8080:80', '--to', lab().lan.ipv4, '--via', 'kernel'], {
      code: 'via-unavailable',
      says: new RegExp(`the kernel path cannot reach ${lab().lan.ipv4}: it is not behind a bridge of ours`),
      hint: /--via kernel/,
    })
  })
})

describe('a command line that is wrong', () => {
  const usage = (says: RegExp, hint: RegExp): Failure => ({ code: 'usage', says, hint })
  const spec = (says: RegExp): Failure => ({ code: 'spec-invalid', says })

  test.each<[readonly string[], Failure]>([
    [['publish', '8080:http'], spec(/'8080:http': target port 'http': not a port/)],
    [['publish', '8080:80', '8081:80/icmp'], spec(/'8081:80\/icmp': protocol 'icmp': not one of/)],
    [['publish', '-p', '70000:80'], spec(/host port '70000'/)],
    [['publish', '20-10:80'], spec(/host port '20-10': the range ends before it starts/)],
    [['publish', '8000-8002:80-81'], spec(/3 host port\(s\) for 2 target ports/)],
    [['publish', 'localhost:8080:80'], spec(/host address 'localhost': not an IP address/)],
    [['publish', 'published=80,tagret=80'], spec(/key 'tagret': unknown/)],
    [['run', '-d', '-p', '8080:', '--', 'sleep', '1'], spec(/target port: missing/)],
    [
      ['publish', '80', '--to', '0.0.0.0'],
      { code: 'target-invalid', says: /'0\.0\.0\.0': it stands for every address/ },
    ],
    [['publish', '80', '--name', 'a/b'], { code: 'name-invalid', says: /invalid name 'a\/b'/ }],
    [['publish', '80', '--via', 'air'], usage(/--via .*'air' is invalid/, /publish --help/)],
    [['publish', '80', '--frobnicate', '--also'], usage(/unknown option '--frobnicate'/, /publish --help/)],
    [['publish'], usage(/what is to be published/, /publish --help/)],
    [['unpublish'], usage(/which publication/, /unpublish --help/)],
    [['unpublish', '--all', '80'], usage(/--all takes no REF/, /unpublish --help/)],
    [['pubish', '80'], usage(/unknown command 'pubish'/, /portctl --help/)],
    [['run', '-d'], usage(/missing required argument 'CMD'/, /run --help/)],
    [['stop', '-t', 'soon', 'web'], usage(/--time 'soon'/, /stop --help/)],
  ])('%j', async (args, failure) => {
    await refused(lab(), portctl, args, failure)
  })
})

describe('unpublish', () => {
  test('of several the last one is unknown: all stay', async () => {
    await apiOf(portctl).publish({ specs: ['8080:80', '8081:80'], to: web.name })
    await refused(lab(), portctl, ['unpublish', '8080', '8081:80', '8082'], {
      code: 'publication-not-found',
      says: /no publication '8082'/,
      hint: /portctl ls/,
    })
    expect((await call(lab(), lab().lan, lab().host.ipv4, 8081)).name).toBe('web')
  })
})

describe('publish --foreground', () => {
  const start = async (...args: readonly string[]) => {
    const child = lab().spawn(
      lab().host,
      process.execPath,
      [PORTCTL, 'publish', '--foreground', '8080:80', '--to', web.name, ...args],
      { env: portctl.env },
    )
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', chunk => {
      stdout += String(chunk)
    })
    child.stderr.on('data', chunk => {
      stderr += String(chunk)
    })
    const ended = once(child, 'close').then(([status, signal]) => ({ status, signal, stdout, stderr }))
    await waitFor('the publication to be announced', () => stdout !== '')
    return { child, ended }
  }

  test.each(['SIGINT', 'SIGTERM'] as const)('%s takes it back before the command ends', async signal => {
    const before = await picture(lab(), portctl)
    const { child, ended } = await start('--json')
    expect((await call(lab(), lab().lan, lab().host.ipv4, 8080)).name).toBe('web')
    child.kill(signal)
    const { status, stdout, stderr } = await ended
    expect(await picture(lab(), portctl)).toEqual(before)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject([{ hostPort: 8080, container: web.name }])
  })

  test('SIGKILL takes it back too', async () => {
    const before = await picture(lab(), portctl)
    const { child, ended } = await start()
    child.kill('SIGKILL')
    await ended
    await waitFor('its end', async () => (await apiOf(portctl).listPublications()).length === 0)
    expect(await picture(lab(), portctl)).toEqual(before)
  })

  test('the daemon is killed: the command says so, and the next daemon takes it back; what was published for good stays', async () => {
    const before = await picture(lab(), portctl)
    await apiOf(portctl).publish({ specs: ['8081:80'], to: web.name })
    const { ended } = await start('--via', 'relay')
    await portctl.stop('SIGKILL')
    const { status, stderr } = await ended
    expect(status).toBe(1)
    expect(stderr).toMatch(
      /^portctl: the portctl daemon went away in the middle of 'publish --foreground': the outcome is unknown \[daemon-gone\]\n.*portctl ls.*\n$/,
    )
    await portctl.start()
    expect((await apiOf(portctl).listPublications()).map(row => row.hostPort)).toEqual([8081])
    await expect(call(lab(), lab().lan, lab().host.ipv4, 8080)).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
    expect(portctl.log()).toContain('taking back publications that nobody holds any more')
    await apiOf(portctl).unpublish({ all: true })
    expect(await picture(lab(), portctl)).toEqual(before)
  })
})
