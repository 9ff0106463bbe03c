/** Every row of the table "which way a packet goes", through the command line, on the real kernel. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { beforeAll, describe, expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { waitFor } from '../lab/lab.ts'
import { type Box, call, createInstance, type Instance, startBox } from './bed.ts'

const PROTOCOLS = ['tcp', 'udp'] as const

describe.each(['splice', 'node'] as const)('engine %s', engine => {
  const lab = useLab({ lan: ['lan', 'lan2'] })
  let portctl: Instance
  let web: Box
  let neighbour: Box
  let port = 8000

  beforeAll(async () => {
    portctl = await createInstance(lab(), lab().host, { args: ['--engine', engine] })
    await portctl.start()
    web = await startBox(lab(), portctl, 'web')
    neighbour = await startBox(lab(), portctl, 'neighbour')
  })

  const publish = async (spec: string, ...options: readonly string[]): Promise<number> => {
    const hostPort = ++port
    await portctl.ok('publish', spec.replace('PORT', String(hostPort)), ...options)
    return hostPort
  }

  describe.each(PROTOCOLS)('%s', protocol => {
    test('another machine reaches the container, over both families, with its own address', async () => {
      const { host, lan } = lab()
      const at = await publish(`PORT:80/${protocol}`, '--to', web.name)
      const over4 = await call(lab(), lan, host.ipv4, at, protocol)
      expect(over4).toMatchObject({ name: 'web', client: lan.ipv4 })
      const over6 = await call(lab(), lan, host.ipv6, at, protocol)
      expect(over6).toMatchObject({ name: 'web', client: lan.ipv6 })
      const second = await call(lab(), lan, host.ipv4b, at, protocol)
      expect(second.client).toBe(lan.ipv4)
      if (protocol === 'udp') expect(second.from).toBe(host.ipv4b)
      const [row] = (await portctl.json<{ via: string; hostPort: number }[]>('ls')).filter(
        p => p.hostPort === at,
      )
      expect(row?.via).toBe('kernel')
    })

    test('this host reaches it by its own address, 127.0.0.1 and ::1', async () => {
      const { host } = lab()
      const at = await publish(`PORT:80/${protocol}`, '--to', web.name)
      expect(await call(lab(), host, host.ipv4, at, protocol)).toMatchObject({
        name: 'web',
        client: host.ipv4,
      })
      expect(await call(lab(), host, host.ipv6, at, protocol)).toMatchObject({
        name: 'web',
        client: host.ipv6,
      })
      expect(await call(lab(), host, '127.0.0.1', at, protocol)).toMatchObject({
        name: 'web',
        client: web.gateway,
      })
      const loopback6 = await call(lab(), host, '::1', at, protocol)
      expect(loopback6.name).toBe('web')
      if (protocol === 'udp') expect(loopback6.from).toBe('::1')
    })

    test('hairpin: the container itself and its neighbour reach it through every address of the host', async () => {
      const { host } = lab()
      const at = await publish(`PORT:80/${protocol}`, '--to', web.name)
      for (const from of [web, neighbour])
        for (const address of [host.ipv4, host.ipv6, web.gateway])
          expect(await call(lab(), from.netns, address, at, protocol)).toMatchObject({
            name: 'web',
            client: address.includes(':') ? expect.stringMatching(/^fd/) : web.gateway,
          })
    })

    test('--via relay carries it from everywhere, answers come from the address asked', async () => {
      const { host, lan } = lab()
      const at = await publish(`PORT:80/${protocol}`, '--to', web.name, '--via', 'relay')
      for (const [from, address] of [
        [lan, host.ipv4],
        [lan, host.ipv4b],
        [lan, host.ipv6],
        [lan, host.ipv6b],
        [host, '127.0.0.1'],
        [host, '::1'],
        [neighbour.netns, host.ipv4],
        [web.netns, host.ipv4],
      ] as const) {
        const called = await call(lab(), from, address, at, protocol)
        expect(called, `from ${String(from)} to ${address}`).toMatchObject({
          name: 'web',
          client: web.gateway,
        })
        if (protocol === 'udp') expect(called.from).toBe(address)
      }
    })

    test('--via kernel refuses what only the relay could carry', async () => {
      const { host, lan } = lab()
      const at = await publish(`PORT:80/${protocol}`, '--to', web.name, '--via', 'kernel')
      expect((await call(lab(), lan, host.ipv4, at, protocol)).client).toBe(lan.ipv4)
      expect((await call(lab(), host, '127.0.0.1', at, protocol)).name).toBe('web')
      const refused = await call(lab(), host, '::1', at, protocol).catch(
        (error: { code: string }) => error.code,
      )
      expect(
        protocol === 'tcp' ? ['ECONNRESET', 'CLOSED', 'EPIPE'] : ['ETIMEDOUT', 'ECONNREFUSED'],
      ).toContain(refused)
    })

    test("netns: and pid: reach a container's loopback-only service", async () => {
      const { host, lan } = lab()
      const byName = await publish(`PORT:81/${protocol}`, '--to', `netns:${web.name}`)
      const { pid } = await portctl.json<{ pid: number }>('inspect', web.name)
      const byPid = await publish(`PORT:81/${protocol}`, '--to', `pid:${pid}`)
      for (const at of [byName, byPid]) {
        expect(await call(lab(), lan, host.ipv4, at, protocol)).toMatchObject({
          name: 'web-private',
          client: '127.0.0.1',
        })
        expect((await call(lab(), host, '::1', at, protocol)).name).toBe('web-private')
      }
    })

    test('pid: leads nowhere once the process has ended', async () => {
      const { host } = lab()
      const child = spawn('unshare', ['--net', 'sleep', '60'])
      try {
        await once(child, 'spawn')
        const at = await publish(`PORT:81/${protocol}`, '--to', `pid:${child.pid}`)
        const state = async () =>
          (await portctl.json<{ hostPort: number; state: string }[]>('ls')).find(p => p.hostPort === at)
            ?.state
        expect(await state()).toBe('active')
        child.kill('SIGKILL')
        await once(child, 'exit')
        expect(await state()).toBe('target-gone')
        await expect(call(lab(), host, '127.0.0.1', at, protocol)).rejects.toThrow()
      } finally {
        child.kill('SIGKILL')
      }
    })

    test('a namespace with no interface but lo is reached', async () => {
      const { host, lan } = lab()
      const lonely = await lab().namespace(`lonely-${protocol}`)
      await lab().serve(lonely, {
        kind: protocol === 'tcp' ? 'who' : 'udp',
        host: '127.0.0.1',
        port: 80,
        name: 'lonely',
      })
      const at = await publish(`PORT:80/${protocol}`, '--to', `netns:${lonely}`)
      expect((await call(lab(), lan, host.ipv6, at, protocol)).name).toBe('lonely')
    })

    test('a container on no network is reached on its loopback', async () => {
      const name = portctl.name(`alone-${protocol}`)
      const { host, lan } = lab()
      await portctl.ok('run', '-d', '--name', name, '--network', 'none', '--', 'sleep', '600')
      await lab().serve(name, {
        kind: protocol === 'tcp' ? 'who' : 'udp',
        host: '::1',
        port: 80,
        name: 'alone',
      })
      const at = await publish(`PORT:80/${protocol}`, '--to', name)
      expect((await call(lab(), lan, host.ipv4, at, protocol)).name).toBe('alone')
    })

    test('an IPv6 client reaches an IPv4-only target', async () => {
      const { host, lan } = lab()
      const at = await publish(`PORT:80/${protocol}`, '--to', web.ipv4)
      expect((await call(lab(), lan, host.ipv4, at, protocol)).client).toBe(lan.ipv4)
      const over6 = await call(lab(), lan, host.ipv6, at, protocol)
      expect(over6).toMatchObject({ name: 'web', client: web.gateway })
      if (protocol === 'udp') expect(over6.from).toBe(host.ipv6)
    })

    test('bound to one address, it is reached there and nowhere else', async () => {
      const { host, lan } = lab()
      const at = await publish(`${host.ipv4}:PORT:80/${protocol}`, '--to', web.name)
      expect((await call(lab(), lan, host.ipv4, at, protocol)).name).toBe('web')
      for (const [from, address] of [
        [lan, host.ipv4b],
        [lan, host.ipv6],
        [host, '127.0.0.1'],
      ] as const)
        await expect(call(lab(), from, address, at, protocol)).rejects.toMatchObject({
          code: expect.stringMatching(/ECONNREFUSED|ETIMEDOUT/),
        })
    })

    test('a target off our bridges: an address, and a service of this host', async () => {
      const { host, lan, machines } = lab()
      const lan2 = machines.lan2 as typeof lan
      const kind = protocol === 'tcp' ? 'who' : 'udp'
      await lab().serve(lan2, { kind, host: lan2.ipv4, port: 7000, name: 'lan2' })
      const there = await publish(`PORT:7000/${protocol}`, '--to', lan2.ipv4)
      expect(await call(lab(), lan, host.ipv4, there, protocol)).toMatchObject({
        name: 'lan2',
        client: host.ipv4,
      })
      await lab().serve(host, { kind, host: '127.0.0.1', port: 7001, name: 'local' })
      const here = await publish(`PORT:7001/${protocol}`, '--to', '127.0.0.1')
      expect((await call(lab(), lan, host.ipv6, here, protocol)).name).toBe('local')
    })

    test('a range leads port by port, shifted or not, and stops at its ends', async () => {
      const { host, lan } = lab()
      const kind = protocol === 'tcp' ? 'who' : 'udp'
      for (const port of [20_001, 20_003])
        await lab().serve(neighbour.netns, { kind, host: '0.0.0.0', port, name: `at ${port}` })
      await portctl.ok('publish', `20000-20003:20000-20003/${protocol}`, '--to', neighbour.name)
      await portctl.ok('publish', `30000-30003:20000-20003/${protocol}`, '--to', neighbour.name)
      await portctl.ok(
        'publish',
        `40000-40003:20000-20003/${protocol}`,
        '--to',
        neighbour.name,
        '--via',
        'relay',
      )
      for (const base of [20_000, 30_000, 40_000]) {
        expect((await call(lab(), lan, host.ipv4, base + 1, protocol)).name).toBe('at 20001')
        expect((await call(lab(), lan, host.ipv4, base + 3, protocol)).name).toBe('at 20003')
        await expect(call(lab(), lan, host.ipv4, base + 4, protocol)).rejects.toThrow()
      }
      for (const base of [20_000, 30_000, 40_000])
        await portctl.ok('unpublish', `${base}-${base + 3}/${protocol}`)
      await expect(call(lab(), lan, host.ipv4, 20_001, protocol)).rejects.toThrow()
    })

    test('what was carried is counted', async () => {
      const { host, lan } = lab()
      for (const via of ['auto', 'relay']) {
        const at = await publish(`PORT:80/${protocol}`, '--to', web.name, '--via', via)
        for (let i = 0; i < 3; i++) await call(lab(), lan, host.ipv4, at, protocol)
        const [row] = (
          await portctl.json<
            { hostPort: number; connections: { total: number }; bytes: { in: number; out: number } }[]
          >('ls')
        ).filter(p => p.hostPort === at)
        expect(row?.connections.total, via).toBe(3)
        expect(row?.bytes.in, via).toBeGreaterThanOrEqual(3)
        expect(row?.bytes.out, via).toBeGreaterThan(100)
      }
    })
  })

  test('a service that answers IPv4 only is given IPv6 clients by the relay, and by the kernel once it answers IPv6', async () => {
    const { host, lan } = lab()
    const at = await publish('PORT:82', '--to', web.name)
    const old = await lab().serve(web.netns, { kind: 'who', host: '0.0.0.0', port: 82, name: 'old' })
    await waitFor('the relay', () =>
      call(lab(), lan, host.ipv6, at).then(
        c => c.client === web.gateway,
        () => false,
      ),
    )
    expect((await call(lab(), lan, host.ipv4, at)).client).toBe(lan.ipv4)
    const early = await publish('PORT:82', '--to', web.name)
    expect((await call(lab(), lan, host.ipv6, early)).client).toBe(web.gateway)
    await lab().serve(web.netns, { kind: 'who', host: '::', port: 82, name: 'new' })
    await waitFor('the kernel', () =>
      call(lab(), lan, host.ipv6, at).then(
        c => c.client === lan.ipv6,
        () => false,
      ),
    )
    await old.close()
  })

  test('the container reaches another machine, masqueraded; the other machine does not reach it', async () => {
    const { host, lan, machines } = lab()
    const lan2 = machines.lan2 as typeof lan
    const server = await lab().serve(lan2, { kind: 'who', host: lan2.ipv4, name: 'outside' })
    expect(await call(lab(), web.netns, lan2.ipv4, server.port)).toMatchObject({
      name: 'outside',
      client: host.ipv4,
    })
    await lab().forgeRoute(lan, `${web.ipv4}/32`)
    await expect(call(lab(), lan, web.ipv4, 80)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  })

  test('published on 127.0.0.1, it is out of reach for other machines, forged routes included', async () => {
    const { host, machines } = lab()
    const attacker = machines.lan2 as typeof host
    const at = await publish('127.0.0.1:PORT:80', '--to', web.name)
    expect((await call(lab(), host, '127.0.0.1', at)).name).toBe('web')
    await lab().forgeRoute(attacker, '127.0.0.0/8')
    for (const address of ['127.0.0.1', host.ipv4])
      await expect(call(lab(), attacker, address, at)).rejects.toMatchObject({
        code: expect.stringMatching(/ECONNREFUSED|ETIMEDOUT/),
      })
  })

  test('a UDP client that never pauses reaches the new container at once', async () => {
    const { host, lan } = lab()
    const at = await publish('PORT:80/udp', '--to', web.name)
    const from = { address: lan.ipv4, port: 5353 }
    const ask = () =>
      lab().ask(lan, { protocol: 'udp', host: host.ipv4, port: at, payload: 'x', from, timeout: 1_500 })
    expect(JSON.parse((await ask()).reply)).toMatchObject({ name: 'web' })
    await portctl.ok('unpublish', `${at}/udp`)
    await expect(ask()).rejects.toMatchObject({ code: expect.stringMatching(/ETIMEDOUT|ECONNREFUSED/) })
    await portctl.ok('publish', `${at}:80/udp`, '--to', neighbour.name)
    expect(JSON.parse((await ask()).reply)).toMatchObject({ name: 'neighbour' })
  })
})
