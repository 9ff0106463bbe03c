/** A daemon with everything but its work: the lock, the store, the API over a fake service. Bundled by autostart.test.ts. */
import { signalReady } from '../../src/api/autostart.ts'
import { asPortctlError } from '../../src/core/errors.ts'
import { createApiServer, listenOn } from '../../src/daemon/api-server.ts'
import { acquireLock } from '../../src/daemon/lock.ts'
import { createLogger } from '../../src/daemon/logging.ts'
import { openStore } from '../../src/daemon/store.ts'
import { fakeService, status } from './fake-service.ts'

const main = async (): Promise<void> => {
  const runDir = process.env.PORTCTL_RUN_DIR as string
  const stateDir = process.env.PORTCTL_STATE_DIR as string
  if (process.env.FAKE_DAEMON === 'dies') process.kill(process.pid, 'SIGKILL')
  if (process.env.FAKE_DAEMON === 'exits') process.exit(3)
  const log = await createLogger()
  await acquireLock({ runDir, stateDir })
  await openStore(stateDir)
  const service = fakeService({ status: async () => ({ ...status, pid: process.pid }) })
  const stop = await listenOn(createApiServer(service, log), runDir)
  log.info({ ms: Math.round(performance.now()) }, 'ready')
  signalReady()
  process.once('SIGTERM', () => {
    // Holds the lock for a while after its socket has gone, as a daemon does that takes back what it made.
    const teardown = process.env.FAKE_DAEMON === 'ends slowly' ? 500 : 0
    void stop().then(() => setTimeout(() => process.exit(0), teardown))
  })
}

main().catch((error: unknown) => {
  signalReady(asPortctlError(error))
  process.exitCode = 1
})
