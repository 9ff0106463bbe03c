/**
 * A laboratory: machines that are network namespaces, joined by a switch that is one too. Nothing outside the
 * namespaces made here is touched, and nothing is left when the process ends, however it ends.
 *
 *            switch (bridge)
 *           /       |       \
 *        host     lan      lan2 …       198.51.100.0/24, 2001:db8:1::/64, no DAD
 *
 * `host` is the future home of a daemon; its default route leads to the first `lan`, and every lan's to the host.
 * Names are `pct-<creator's pid>-<random>-<machine>`: `sweep` removes what a killed creator left.
 */
import { type ChildProcessWithoutNullStreams, execFile, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { AGENT, Agent, type Answer, type Question, type ServerSpec } from './agent.ts'

export interface Machine {
  /** Of the namespace, as `ip netns` knows it. */
  readonly name: string
  readonly path: string
  readonly ipv4: string
  readonly ipv6: string
  /** A second address of each family, on the same interface (`eth0`). */
  readonly ipv4b: string
  readonly ipv6b: string
}

/** A machine, the name of a namespace, or a path to one. */
export type Where = Machine | string

export interface ExecOptions {
  readonly input?: string
  /** Milliseconds, default 20,000; then SIGKILL and exit code −1. */
  readonly timeout?: number
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface Executed {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

interface Server {
  readonly port: number
  close(): Promise<void>
}

export interface Lab {
  readonly prefix: string
  readonly host: Machine
  /** The first lan machine; the rest are in `machines`. */
  readonly lan: Machine
  readonly machines: Readonly<Record<string, Machine>>
  /** A further namespace with nothing but lo (up), removed with the lab; gives its name. */
  namespace(label: string): Promise<string>
  exec(where: Where, command: string, args: readonly string[], options?: ExecOptions): Promise<Executed>
  /** As `exec`, and rejects when the command fails. Gives stdout. */
  sh(where: Where, command: string, ...args: readonly string[]): Promise<string>
  spawn(
    where: Where,
    command: string,
    args: readonly string[],
    options?: Pick<ExecOptions, 'env' | 'cwd'>,
  ): ChildProcessWithoutNullStreams
  serve(where: Where, spec: ServerSpec): Promise<Server>
  /** Rejects with an error whose `code` is ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, … */
  ask(where: Where, question: Question): Promise<Answer>
  /** Makes a machine send packets for `destination` (127.0.0.0/8 included) to the host. */
  forgeRoute(machine: Machine, destination: string): Promise<void>
  /** Runs before the namespaces go; the last one added runs first. */
  onDispose(undo: () => Promise<void>): void
  dispose(): Promise<void>
}

const netnsPath = (where: Where): string => {
  if (typeof where !== 'string') return where.path
  return where.includes('/') ? where : `/run/netns/${where}`
}

/** Polls until `condition` gives something other than false, null or undefined; fails loudly, saying for what. */
export const waitFor = async <T>(
  what: string,
  condition: () => T | Promise<T>,
  timeout = 10_000,
): Promise<NonNullable<Exclude<T, false>>> => {
  const deadline = performance.now() + timeout
  for (;;) {
    const value = await condition()
    if (value !== false && value !== null && value !== undefined)
      return value as NonNullable<Exclude<T, false>>
    if (performance.now() > deadline) throw new Error(`waited ${timeout} ms in vain for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

const host = (command: string, args: readonly string[], options: ExecOptions = {}): Promise<Executed> =>
  new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        timeout: options.timeout ?? 20_000,
        killSignal: 'SIGKILL',
        maxBuffer: 64 << 20,
        env: { ...process.env, ...options.env },
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      },
      (error, stdout, stderr) => {
        const code = error?.code
        if (typeof code === 'string') reject(error)
        else resolve({ stdout, stderr, exitCode: error === null ? 0 : (code ?? -1) })
      },
    )
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input ?? '')
  })

const must = async (command: string, args: readonly string[], options?: ExecOptions): Promise<string> => {
  const { exitCode, stdout, stderr } = await host(command, args, options)
  if (exitCode !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${exitCode}: ${stderr}${stdout}`)
  return stdout
}

const enter = (where: Where, command: string, args: readonly string[]): readonly string[] => [
  `--net=${netnsPath(where)}`,
  '--',
  command,
  ...args,
]

const ipBatch = (namespace: string, lines: readonly string[]): Promise<string> =>
  must('ip', ['-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` })

const machineOf = (prefix: string, label: string, number: number): Machine => ({
  name: `${prefix}-${label}`,
  path: `/run/netns/${prefix}-${label}`,
  ipv4: `198.51.100.${number}`,
  ipv6: `2001:db8:1::${number}`,
  ipv4b: `198.51.100.${number + 100}`,
  ipv6b: `2001:db8:1::${number + 100}`,
})

/** What must be undone even if the process is told to go: by lab. */
const live = new Set<() => void>()
const undoAll = (): void => {
  for (const undo of live) undo()
}
process.on('exit', undoAll)
// Without a handler a SIGTERM (vitest stopping a worker) would skip 'exit'.
process.once('SIGTERM', () => process.exit(143))

/** Kills, by pid, whatever runs in the namespaces given (all made by a lab), then removes them. */
const removeNamespaces = (names: readonly string[]): void => {
  for (const name of names) {
    if (!existsSync(`/run/netns/${name}`)) continue
    const { stdout } = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' })
    for (const pid of stdout.split('\n').filter(line => line !== '')) {
      if (Number(pid) === process.pid) continue
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // it ended meanwhile
      }
    }
    spawnSync('ip', ['netns', 'del', name])
  }
}

/** Namespaces at the other end of the host's veths: containers that a daemon under test left behind. */
const wiredTo = (machine: string): readonly string[] => {
  const { stdout } = spawnSync('ip', ['-n', machine, '-j', 'link', 'show', 'type', 'veth'], {
    encoding: 'utf8',
  })
  const links = (stdout === '' ? [] : JSON.parse(stdout)) as readonly { readonly link_netns?: string }[]
  return links.flatMap(link => link.link_netns ?? [])
}

/** Removes namespaces of labs whose creator is gone. */
export const sweep = (): void => {
  const orphans = readdirSync('/run/netns').filter(name => {
    const pid = /^pct-(\d+)-[0-9a-f]{6}-/.exec(name)?.[1]
    return pid !== undefined && !existsSync(`/proc/${pid}`)
  })
  removeNamespaces([...new Set(orphans.filter(name => name.endsWith('-host')).flatMap(wiredTo)), ...orphans])
}

export const createLab = async (options: { readonly lan?: readonly string[] } = {}): Promise<Lab> => {
  const prefix = `pct-${process.pid}-${randomBytes(3).toString('hex')}`
  const labels = ['host', ...(options.lan ?? ['lan'])]
  const all = labels.map((label, i) => machineOf(prefix, label, i === 0 ? 1 : 10 + i))
  const machines = Object.fromEntries(labels.map((label, i) => [label, all[i] as Machine]))
  const [hostMachine, lan] = all as [Machine, Machine]
  const sw = `${prefix}-switch`
  const names = [sw, ...all.map(machine => machine.name)]
  const children = new Set<ChildProcessWithoutNullStreams>()
  const agents = new Map<string, Agent>()
  const undos: (() => Promise<void>)[] = []

  const undo = (): void => {
    live.delete(undo)
    for (const child of children) child.kill('SIGKILL')
    removeNamespaces([...wiredTo(hostMachine.name).filter(name => !names.includes(name)), ...names])
  }
  live.add(undo)

  const exec: Lab['exec'] = (where, command, args, execOptions) =>
    host('nsenter', enter(where, command, args), execOptions)
  const sh: Lab['sh'] = (where, command, ...args) => must('nsenter', enter(where, command, args))

  const addNamespace = async (name: string): Promise<void> => {
    await must('ip', ['netns', 'add', name])
    // Addresses must be usable at once, link-local ones included.
    await sh(name, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0')
    await must('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
  }

  const wire = async (): Promise<void> => {
    await Promise.all(names.map(addNamespace))
    await ipBatch(sw, [
      'link add br0 type bridge forward_delay 0 stp_state 0',
      'link set br0 up',
      ...all.flatMap((machine, i) => [
        `link add port${i} type veth peer name eth0 netns ${machine.name}`,
        `link set port${i} master br0 up`,
      ]),
    ])
    await Promise.all(
      all.map(machine => {
        const gateway = machine === hostMachine ? lan : hostMachine
        return ipBatch(machine.name, [
          `addr add ${machine.ipv4}/24 dev eth0`,
          `addr add ${machine.ipv4b}/24 dev eth0`,
          `addr add ${machine.ipv6}/64 dev eth0 nodad`,
          // Deprecated, so that it is never chosen as a source address.
          `addr add ${machine.ipv6b}/64 dev eth0 nodad preferred_lft 0`,
          'link set eth0 up',
          `route add default via ${gateway.ipv4}`,
          `route add ::/0 via ${gateway.ipv6}`,
        ])
      }),
    )
  }

  const agentOf = (where: Where): Agent => {
    const path = netnsPath(where)
    const known = agents.get(path)
    if (known !== undefined) return known
    const child = lab.spawn(where, process.execPath, [AGENT])
    const agent = new Agent(child)
    agents.set(path, agent)
    // A test may kill all that is in a namespace: the next question starts another.
    child.once('exit', () => agents.delete(path))
    return agent
  }

  const lab: Lab = {
    prefix,
    host: hostMachine,
    lan,
    machines,
    namespace: async label => {
      const name = `${prefix}-${label}`
      names.push(name)
      await addNamespace(name)
      return name
    },
    exec,
    sh,
    spawn: (where, command, args, spawnOptions = {}) => {
      const child = spawn('nsenter', enter(where, command, args), {
        stdio: 'pipe',
        env: { ...process.env, ...spawnOptions.env },
        ...(spawnOptions.cwd === undefined ? {} : { cwd: spawnOptions.cwd }),
      })
      children.add(child)
      child.on('close', () => children.delete(child))
      return child
    },
    serve: async (where, spec) => {
      const agent = agentOf(where)
      const { handle, port } = await agent.call<{ handle: number; port: number }>('serve', spec)
      return { port, close: () => agent.call('close', { handle }) }
    },
    ask: (where, { protocol, ...question }) =>
      agentOf(where).call<Answer>(protocol, { payload: '', timeout: 3_000, ...question }),
    forgeRoute: async (machine, destination) => {
      if (destination.startsWith('127.')) {
        await sh(machine, 'sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1')
        await host('ip', ['-n', machine.name, 'addr', 'del', '127.0.0.1/8', 'dev', 'lo'])
      }
      const gateway = destination.includes(':') ? hostMachine.ipv6 : hostMachine.ipv4
      await must('ip', ['-n', machine.name, 'route', 'replace', destination, 'via', gateway])
    },
    onDispose: task => void undos.push(task),
    dispose: async () => {
      const failures: unknown[] = []
      for (const task of undos.splice(0).reverse()) await task().catch(error => failures.push(error))
      undo()
      if (failures.length > 0) throw new AggregateError(failures, 'a laboratory was not taken down cleanly')
    },
  }

  try {
    await wire()
    return lab
  } catch (error) {
    undo()
    throw error
  }
}
