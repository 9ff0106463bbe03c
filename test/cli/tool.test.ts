import { describe, expect, it } from 'vitest'
import { describeFailure, exitStatus } from '../../src/cli/failure.ts'
import { formatBytes, formatDuration } from '../../src/cli/output.ts'
import { buildProgram, globalFlagsOf } from '../../src/cli/parse.ts'
import { VERBS } from '../../src/cli/verbs/index.ts'
import { PortctlError } from '../../src/core/errors.ts'
import { container, portctl } from './fake.ts'

describe('inspect, status, version', () => {
  it('inspect prints JSON', async () => {
    expect(JSON.parse((await portctl(['inspect', 'web'])).stdout)).toEqual({
      kind: 'container',
      ...container(),
    })
  })

  it('status', async () => {
    expect((await portctl(['status'])).stdout).toContain('daemon           pid 100, up 1h 2m\n')
    const data = JSON.parse((await portctl(['status', '--json'])).stdout) as object
    expect(Object.keys(data)).toEqual(
      'version pid relayPid uptimeSeconds runDir stateDir publications containers networks'.split(' '),
    )
  })

  it('version tells the daemon, when one answers', async () => {
    expect((await portctl(['version'])).stdout).toMatch(/^portctl \S+\ndaemon 0\.1\.0 \(pid 100\)\n$/)
    expect((await portctl(['version'], { noDaemon: true })).stdout).toMatch(/^portctl \S+\n$/)
    expect(JSON.parse((await portctl(['version', '--json'], { noDaemon: true })).stdout)).toMatchObject({
      daemon: null,
    })
  })
})

describe('the command line', () => {
  it.each([
    [[], 'no command given', ''],
    [['publsh'], "unknown command 'publsh' (Did you mean publish?)", ''],
    [['ls', 'x'], "too many arguments for 'ls'", 'ls '],
    [['ls', '--bogus'], "unknown option '--bogus'", 'ls '],
    [
      ['publish', '80', '--via', 'x'],
      "option '--via <WAY>' argument 'x' is invalid. Allowed choices are auto, kernel, relay.",
      'publish ',
    ],
    [['port'], "missing required argument 'CONTAINER'", 'port '],
    [['exec', 'web', '--json', 'x'], "command '--json' not found", undefined],
    [['daemon', '--json'], "unknown option '--json'", 'daemon '],
  ])('%j', async (args, message, verb) => {
    const { status, stdout, stderr } = await portctl(args)
    expect(stdout).toBe('')
    expect(stderr).toContain(`portctl: ${message}`)
    if (verb === undefined) return
    expect(status).toBe(2)
    expect(stderr.split('\n')[1]).toBe(`see 'portctl ${verb}--help'`)
  })

  it.each([[['--help']], [['help']], [['-h']]])('%j lists every command', async args => {
    const { status, stdout, stderr } = await portctl(args)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    for (const { name, summary } of VERBS) {
      expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
      expect(stdout).toContain(summary.slice(0, 20))
    }
  })

  it.each(VERBS.map(verb => [verb.name, verb] as const))(
    '%s --help shows its examples',
    async (name, verb) => {
      expect(verb.examples.length).toBeGreaterThan(0)
      for (const args of [
        [name, '--help'],
        ['help', name],
      ]) {
        const { status, stdout } = await portctl(args)
        expect(status).toBe(0)
        for (const { command } of verb.examples) expect(stdout).toContain(command)
      }
    },
  )

  it('the parser has exactly the flags of the tables', () => {
    const program = buildProgram(() => undefined, { out: () => undefined })
    for (const verb of VERBS) {
      const command = program.commands.find(c => c.name() === verb.name)
      const parsed = command?.options.map(option => ({
        long: option.long,
        short: option.short,
        value: option.required ? /<(.*)>/.exec(option.flags)?.[1] : undefined,
        choices: option.argChoices,
      }))
      const wanted = Object.entries({ ...verb.flags, ...globalFlagsOf(verb) }).map(([name, flag]) => ({
        long: `--${name}`,
        short: flag.short === undefined ? undefined : `-${flag.short}`,
        value: flag.value,
        choices: flag.choices,
      }))
      expect(parsed, verb.name).toEqual(wanted)
    }
    expect(program.commands.map(c => c.name()).sort()).toEqual([...VERBS.map(verb => verb.name)].sort())
  })
})

describe('failures', () => {
  const taken = PortctlError.of('port-taken', { address: '0.0.0.0', port: 80, protocol: 'tcp' })
  const usage = PortctlError.of('usage', { what: 'x' })

  it('several are each told, and the worst decides', () => {
    const both = new AggregateError([taken, usage])
    expect(exitStatus(both)).toBe(2)
    expect(describeFailure(both, false)).toBe(
      "portctl: 0.0.0.0:80/tcp is already in use [port-taken]\nportctl: x [usage]\nsee 'portctl --help'",
    )
  })

  it('anything else is a defect, in one line', () => {
    expect(exitStatus(new Error('boom'))).toBe(1)
    expect(describeFailure(new Error('boom\nat x'), false)).toBe(
      'portctl: internal error: boom at x [internal]',
    )
  })

  it('quoted text cannot steer the terminal', () => {
    const hostile = PortctlError.of('spec-invalid', { spec: '\x1b[2J\n80', part: 'target port', why: 'bad' })
    expect(describeFailure(hostile, false)).toBe(
      "portctl: invalid publish specification '\\x1b[2J 80': target port: bad [spec-invalid]",
    )
    expect(describeFailure(usage, true).startsWith('\x1b[31mportctl:\x1b[39m x')).toBe(true)
  })
})

describe('sizes and times', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [9949, '9.9 kB'],
    [9950, '10 kB'],
    [999_499, '999 kB'],
    [999_500, '1.0 MB'],
    [1_234_567_890, '1.2 GB'],
    [5e18, '5000 PB'],
  ])('%d bytes', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })

  it.each([
    [0, '0s'],
    [47.9, '47s'],
    [200, '3m 20s'],
    [7500, '2h 5m'],
    [86_400, '1d'],
    [86_400 * 11 + 4 * 3600 + 59, '11d 4h'],
  ])('%d seconds', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text)
  })
})
