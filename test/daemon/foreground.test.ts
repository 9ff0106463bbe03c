/** `publish --foreground` against a real daemon: what it publishes goes with it, however many and however it ends. */
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { useLab } from '../lab/hooks.ts'
import { waitFor } from '../lab/lab.ts'
import { createInstance, type Instance } from '../paths/bed.ts'
import { apiOf } from './failures.ts'

const lab = useLab()
let portctl: Instance

beforeAll(async () => {
  portctl = await createInstance(lab(), lab().host)
  await portctl.start()
})

const publications = () => apiOf(portctl).listPublications()
const allGone = () => waitFor('them to be taken back', async () => (await publications()).length === 0)

test('more than a thousand, one of them taken back meanwhile', async () => {
  const api = apiOf(portctl)
  const specs = Array.from({ length: 1_200 }, (_, i) => `127.0.0.1:${10_000 + i}:80`)
  const { publications: made } = await api.publish({ specs, to: '127.0.0.1', held: true })
  const ids = made.map(({ id }) => id)
  const hold = await api.hold(ids)
  await api.unpublish({ refs: ids.slice(600, 601) })
  expect(await publications()).toHaveLength(1_199)
  hold.release()
  await allGone()
})

test('a command that was killed before it came to hold them', async () => {
  const { publications: made } = await apiOf(portctl).publish({ specs: ['80', '81'], held: true })
  expect(made).toHaveLength(2)
  await allGone()
})

test('a half-sent request does not keep the daemon', async () => {
  const socket = connectSocket(join(portctl.runDir, 'portctl.sock'))
  socket.on('error', () => undefined)
  await new Promise<void>(resolve => socket.write('POST /v1/publications HTTP/1.1\r\n', () => resolve()))
  await publications()
  expect(await portctl.stop('SIGTERM')).toBe(0)
  socket.destroy()
})
