import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createLab } from './lab.ts'
import { startDaemon } from './portctl.ts'

test('a daemon runs in a laboratory, answers its command line, and goes with it', async () => {
  const lab = await createLab()
  try {
    const portctl = await startDaemon(lab)
    const status = await portctl.json<{ pid: number; runDir: string }>('status')
    expect(status.runDir).toBe(portctl.runDir)
    expect((await lab.sh(lab.host, 'ip', 'netns', 'identify', String(status.pid))).trim()).toBe(lab.host.name)
    expect(await portctl.run(['unpublish', 'nothing'])).toMatchObject({ exitCode: 1, stdout: '' })
    await expect(portctl.ok('unpublish', 'nothing')).rejects.toThrow(/nothing/)

    expect(await portctl.stop('SIGKILL')).toBe(-1)
    await portctl.start()
    expect((await portctl.json<{ pid: number }>('status')).pid).not.toBe(status.pid)
    await lab.dispose()
    expect(existsSync(portctl.stateDir)).toBe(false)
    expect(existsSync(`/proc/${status.pid}`)).toBe(false)
  } finally {
    await lab.dispose()
  }
})
