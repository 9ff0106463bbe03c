/**
 * Names that the host can resolve are resolved inside, over UDP and, when an answer does not fit, over TCP: with a name
 * server that containers can reach by themselves, and with one that listens on the host's loopback only.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { type Where, waitFor } from '../lab/lab.ts'
import type { Instance } from '../lab/portctl.ts'
import { call } from '../paths/bed.ts'
import { placeOf, startContainer, startedInstance } from './bed.ts'

const lab = useLab()

/**
 * argv: address to listen on, address that every name has. The answer to `large.*` over UDP says that it was cut off
 * (TC, RFC 1035 section 4.1.1), so that it is asked for again over TCP.
 */
const NAME_SERVER = `
const [listen, address] = process.argv.slice(1)
const answer = (query, cut) => {
  const reply = Buffer.concat([
    query.subarray(0, 12), query.subarray(12, query.indexOf(0, 12) + 5),
    cut ? Buffer.alloc(0) : Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, ...address.split('.').map(Number)]),
  ])
  reply.writeUInt16BE(cut ? 0x8380 : 0x8180, 2)
  for (const [at, count] of [[4, 1], [6, cut ? 0 : 1], [8, 0], [10, 0]]) reply.writeUInt16BE(count, at)
  return reply
}
const udp = require('dgram').createSocket('udp4')
udp.on('message', (query, { address, port }) => udp.send(answer(query, query.includes('large')), port, address))
udp.bind(53, listen)
require('net').createServer(socket => socket.on('error', () => {}).on('data', data => {
  const reply = answer(data.subarray(2), false)
  socket.end(Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 255]), reply]))
})).listen(53, listen)
`

/** Asks for both names, of the name servers in /etc/resolv.conf or the one in argv, within a bounded time. */
const RESOLVE = `
const resolver = new (require('dns').promises.Resolver)({ timeout: 1500, tries: 2 })
if (process.argv[1]) resolver.setServers([process.argv[1]])
Promise.all(['small.example', 'large.example'].map(name => resolver.resolve4(name)))
  .then(answers => console.log(answers.join(' ')), error => { console.log(error.code); process.exit(1) })
`

const serveNames = async (where: Where, listen: string, address: string): Promise<void> => {
  lab().spawn(where, process.execPath, ['-e', NAME_SERVER, listen, address])
  await waitFor(`the name server on ${listen}`, () =>
    lab()
      .ask(where, { protocol: 'tcp', host: listen, port: 53, timeout: 300 })
      .then(
        () => true,
        () => false,
      ),
  )
}

/**
 * Mounts a file over /etc/resolv.conf for one process, and for nobody else: only named network namespaces are still
 * shared with the rest of the machine, as they are for every daemon.
 */
const OVER_RESOLV_CONF = `
findmnt -rno TARGET | grep -vx /run/netns | while read -r mount; do mount --make-private "$mount"; done
mount --bind "$0" /etc/resolv.conf && exec "$@"
`

const instanceWith = async (resolvConf: string): Promise<Instance> => {
  const directory = await mkdtemp(join(tmpdir(), `${lab().prefix}-dns-`))
  lab().onDispose(() => rm(directory, { recursive: true, force: true }))
  const file = join(directory, 'resolv.conf')
  await writeFile(file, resolvConf)
  const within = ['unshare', '--mount', '--propagation=unchanged', 'sh', '-c', OVER_RESOLV_CONF, file]
  return startedInstance(lab(), { within })
}

const resolvConfOf = async (portctl: Instance, name: string): Promise<string> =>
  portctl.ok('exec', name, '--', 'cat', '/etc/resolv.conf')

test('a name server on the network is used as it stands; one on loopback beside it is left out', async () => {
  const { host, lan } = lab()
  await serveNames(lan, lan.ipv4, '192.0.2.10')
  const portctl = await instanceWith(
    `# made by hand\nsearch lab.example example\nnameserver 127.0.0.1\nnameserver ${lan.ipv4}\nnameserver fe80::1%eth0\noptions ndots:2 timeout:1\n`,
  )
  const name = await startContainer(portctl, 'remote')
  expect(await resolvConfOf(portctl, name)).toBe(
    `nameserver ${lan.ipv4}\nsearch lab.example example\noptions ndots:2 timeout:1\n`,
  )
  expect(await portctl.ok('exec', name, '--', process.execPath, '-e', RESOLVE)).toBe(
    '192.0.2.10 192.0.2.10\n',
  )
  // Nothing stands in for a name server that needs no help.
  const { gateway } = await placeOf(portctl, name)
  await expect(call(lab(), name, gateway, 53)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  expect(await lab().sh(host, 'cat', '/etc/resolv.conf')).not.toContain('made by hand')
  expect(await portctl.stop()).toBe(0)
})

test('a name server on the loopback of the host answers at the gateway, after a restart too', async () => {
  const { host } = lab()
  await serveNames(host, '127.0.0.53', '192.0.2.20')
  const portctl = await instanceWith('nameserver 127.0.0.53\noptions edns0 trust-ad\n')
  const name = await startContainer(portctl, 'local')
  const { gateway } = await placeOf(portctl, name)
  expect(await resolvConfOf(portctl, name)).toBe(`nameserver ${gateway}\noptions edns0 trust-ad\n`)
  const resolved = () => portctl.run(['exec', name, '--', process.execPath, '-e', RESOLVE])
  expect(await resolved()).toMatchObject({ exitCode: 0, stdout: '192.0.2.20 192.0.2.20\n' })
  const guard = () => lab().sh(host, 'nft', '-a', 'list', 'set', 'inet', 'portctl', 'resolvers4')
  const before = await guard()
  expect(before).toContain(`${gateway} . udp . 53`)
  // The daemon away: the relay goes on.
  await portctl.stop('SIGKILL')
  expect(await lab().exec(name, process.execPath, ['-e', RESOLVE, gateway])).toMatchObject({
    stdout: '192.0.2.20 192.0.2.20\n',
  })
  await portctl.start()
  expect(await resolved()).toMatchObject({ exitCode: 0, stdout: '192.0.2.20 192.0.2.20\n' })
  // Found as it was: not made anew, which would show in the handle.
  expect(await guard()).toBe(before)
  // In the foreground as well.
  const foreground = await portctl.run(['run', '--rm', '--', process.execPath, '-e', RESOLVE])
  expect(foreground.stdout).toBe('192.0.2.20 192.0.2.20\n')
  expect(await portctl.json('ls')).toEqual([])
  // Containers only: not a machine that sends packets for the gateway's address this way.
  await lab().forgeRoute(lab().lan, `${gateway}/32`)
  await expect(call(lab(), lab().lan, gateway, 53)).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  const { stdout } = await lab().exec(lab().lan, process.execPath, ['-e', RESOLVE, gateway])
  expect(stdout).not.toContain('192.0.2.20')
  expect(await portctl.stop()).toBe(0)
})
