import { describe, expect, it } from 'vitest'
import type { LaunchOptions } from '../../src/cli/launch.ts'
import { PortctlError } from '../../src/core/errors.ts'
import { container, portctl } from './fake.ts'

describe('run in the foreground', () => {
  /** A command with pid 4712 that ends with status 7. */
  const launch = async ({ onStarted }: LaunchOptions): Promise<number> => {
    await onStarted?.(4712)
    return 7
  }

  it('tells the daemon of start and end, and passes the status on', async () => {
    const { status, stdout, stderr, calls } = await portctl(
      ['run', '--name', 'web', '--rm', '-p', '8080:80', '--', 'sh', '-c', 'exit 7', '--name'],
      { launch },
    )
    expect(calls).toEqual([
      {
        method: 'run',
        args: [
          {
            name: 'web',
            publish: ['8080:80'],
            command: ['sh', '-c', 'exit 7', '--name'],
            detach: false,
            autoRemove: true,
          },
        ],
      },
      { method: 'started', args: ['web', { pid: 4712 }] },
      { method: 'exited', args: ['web', { exitCode: 7 }] },
    ])
    expect({ status, stdout }).toEqual({ status: 7, stdout: '' })
    expect(stderr).toContain('0.0.0.0:8080')
  })

  it("flags after the command's first word are the command's, with and without --", async () => {
    const { calls } = await portctl(['run', 'sh', '-d', '--', 'x'], { launch })
    expect(calls[0]?.args).toMatchObject([{ command: ['sh', '-d', '--', 'x'], detach: false }])
  })

  it('leaves no container when the command cannot be started', async () => {
    const failing = () => Promise.reject(PortctlError.of('container-setup-failed', { name: 'web', why: 'x' }))
    const { status, calls } = await portctl(['run', '--', 'sh'], { launch: failing })
    expect(status).toBe(1)
    expect(calls.at(-1)).toEqual({ method: 'remove', args: ['web', true] })
  })

  it('leaves no container when it is interrupted before the command starts', async () => {
    const interrupted = () => Promise.resolve('SIGINT' as const)
    const { status, calls } = await portctl(['run', '--', 'sh'], { launch, interrupted })
    expect(status).toBe(130)
    expect(calls.map(call => call.method)).toEqual(['run', 'remove'])
  })

  it('does not complain when the container is gone by the end, and does when the daemon is', async () => {
    const removed = {
      exited: () => Promise.reject(PortctlError.of('container-not-found', { name: 'web', known: '' })),
    }
    expect(await portctl(['run', '--', 'sh'], { launch, service: removed })).toMatchObject({
      status: 7,
      stderr: expect.not.stringContaining('could not be told'),
    })
    const gone = {
      exited: () => Promise.reject(PortctlError.of('daemon-gone', { what: 'x', changes: true })),
    }
    expect(await portctl(['run', '--', 'sh'], { launch, service: gone })).toMatchObject({
      status: 7,
      stderr: expect.stringContaining('could not be told'),
    })
  })

  it.each([
    ['no-such-command-here', 127, 'command-not-found'],
    ['/etc/passwd', 126, 'command-not-executable'],
    ['/etc', 126, 'command-not-executable'],
    ['', 127, 'command-not-found'],
  ])('refuses %j before asking the daemon', async (command, status, code) => {
    for (const args of [
      ['run', '--', command],
      ['run', '-d', '--', command],
      ['exec', 'web', '--', command],
    ])
      expect(await portctl(args)).toMatchObject({
        status,
        calls: [],
        stderr: expect.stringContaining(`[${code}]`),
      })
  })
})

describe('run -d', () => {
  it("sends the caller's environment and directory, and prints the name", async () => {
    const { stdout, stderr, calls } = await portctl(['run', '-d', '--', 'sh'], {
      variables: { PATH: '/bin', A: '1', UNSET: undefined },
    })
    expect(calls).toEqual([
      {
        method: 'run',
        args: [
          {
            publish: [],
            command: ['sh'],
            detach: true,
            autoRemove: false,
            env: { PATH: '/bin', A: '1' },
            cwd: '/',
          },
        ],
      },
    ])
    expect(stdout).toBe('web\n')
    expect(stderr).toContain('-> web 172.18.0.2:80/tcp')
  })

  it('--json', async () => {
    const data = JSON.parse((await portctl(['run', '-d', '--json', '--', 'sh'])).stdout) as object
    expect(data).toMatchObject({ name: 'web', publications: [{ id: '3f9c1a2b4d5e' }] })
  })
})

describe('exec', () => {
  it.each([
    [['exec', 'web', '--', 'sh', '-c', 'x']],
    [['exec', 'web', 'sh', '-c', 'x']],
    [['exec', '--', 'web', 'sh', '-c', 'x']],
  ])('%j', async args => {
    const launched: LaunchOptions[] = []
    const { status, calls } = await portctl(args, {
      launch: async options => {
        launched.push(options)
        return 3
      },
    })
    expect(launched).toEqual([{ container: container(), command: ['sh', '-c', 'x'] }])
    expect(calls).toEqual([{ method: 'container', args: ['web'] }])
    expect(status).toBe(3)
  })

  it('wants a command', async () => {
    expect(await portctl(['exec', 'web'])).toMatchObject({ status: 2 })
    expect(await portctl(['exec', 'web', '--'])).toMatchObject({ status: 2 })
  })
})

describe('ps', () => {
  it('shows where containers are', async () => {
    const service = {
      listContainers: async () => [
        container(),
        container({ name: 'idle', pid: null, status: 'exited', networks: {}, ports: [] }),
      ],
    }
    expect((await portctl(['ps'], { service })).stdout).toBe(
      [
        'NAME  ID            STATUS   PID   NETWORK  ADDRESSES                  PORTS',
        'web   0123456789ab  running  4711  bridge   172.18.0.2/16, fd00::2/64  0.0.0.0:8080->80/tcp, [::]:8080->80/tcp',
        'idle  0123456789ab  exited   -     -        -                          -',
        '',
      ].join('\n'),
    )
    expect((await portctl(['ps', '-q'], { service })).stdout).toBe('web\nidle\n')
    expect(JSON.parse((await portctl(['ps', '--json'])).stdout)).toEqual([container()])
  })
})

describe('stop and rm', () => {
  it('do what can be done, and report the rest', async () => {
    const { status, stdout, stderr } = await portctl(['rm', 'nope', 'web', 'gone'])
    expect({ status, stdout }).toEqual({ status: 1, stdout: 'web\n' })
    expect(stderr.match(/\[container-not-found\]/g)).toHaveLength(2)
    expect(JSON.parse((await portctl(['stop', 'nope', 'web', '--json'])).stdout)).toEqual(['web'])
  })

  it('pass their flags', async () => {
    expect((await portctl(['rm', '-f', 'web'])).calls).toEqual([{ method: 'remove', args: ['web', true] }])
    expect((await portctl(['stop', '-t', '0.5', 'web'])).calls).toEqual([
      { method: 'stop', args: ['web', { timeoutSeconds: 0.5 }] },
    ])
    expect((await portctl(['stop', 'web'])).calls).toEqual([{ method: 'stop', args: ['web', {}] }])
  })

  it.each(['x', '-1', '1e9', ''])('stop -t %j is refused', async time => {
    expect(await portctl(['stop', `--time=${time}`, 'web'])).toMatchObject({ status: 2, calls: [] })
  })
})
