import { describe, expect, test } from 'vitest'
import { createFakeSysctl } from '../../src/kernel/fake/sysctl.ts'
import { netnsSysctl, type Sysctl } from '../../src/kernel/sysctl.ts'
import { useLab } from '../lab/hooks.ts'
import { runScript } from '../lab/script.ts'

const lab = useLab()
const KEY = 'net/ipv4/conf/dotted.7/forwarding'

/** What every Sysctl does: the real one and the fake run the same tests. */
const conformance = (make: () => Promise<Sysctl>): void => {
  test('reads and writes, dots in interface names included', async () => {
    const sysctl = await make()
    expect(await sysctl.read(KEY)).toBe('0')
    await sysctl.write([
      { key: KEY, value: '1' },
      { key: 'net/ipv4/ip_local_port_range', value: '20000 20010' },
    ])
    expect(await sysctl.read(KEY)).toBe('1')
    expect((await sysctl.read('net/ipv4/ip_local_port_range'))?.split(/\s/)).toEqual(['20000', '20010'])
    await sysctl.write([])
  })

  test('lists a folder', async () => {
    const sysctl = await make()
    expect(await sysctl.list('net/ipv4/conf')).toContain('dotted.7')
    expect(await sysctl.list('net/ipv4/conf/dotted.7')).toContain('forwarding')
    expect(await sysctl.list('net/ipv4/conf/absent')).toEqual([])
  })

  test('a key that is not there reads null and cannot be written', async () => {
    const sysctl = await make()
    const key = 'net/ipv4/conf/absent/forwarding'
    expect(await sysctl.read(key)).toBeNull()
    await expect(sysctl.write([{ key, value: '1' }])).rejects.toMatchObject({
      code: 'sysctl-failed',
      message: expect.stringContaining('net.ipv4.conf.absent.forwarding'),
    })
  })
}

const dotted = async (): Promise<void> => {
  await lab().exec(lab().host, 'ip', ['link', 'del', 'dotted.7'])
  await lab().sh(lab().host, 'ip', 'link', 'add', 'dotted.7', 'type', 'bridge')
}

describe('of another namespace', () => {
  conformance(async () => {
    await dotted()
    return netnsSysctl(lab().host.path)
  })
})

describe('the fake', () => {
  conformance(async () => createFakeSysctl({ [KEY]: '0', 'net/ipv4/ip_local_port_range': '32768\t60999' }))
})

test('of the namespace the process is in', async () => {
  await dotted()
  const result = await runScript(
    lab(),
    lab().host,
    `import { hostSysctl } from './src/kernel/sysctl.ts'
     const before = await hostSysctl.read('${KEY}')
     await hostSysctl.write([{ key: '${KEY}', value: '1' }])
     const absent = await hostSysctl.read('net/ipv4/conf/absent/forwarding')
     const refused = await hostSysctl.write([{ key: 'net/ipv4/conf/absent/forwarding', value: '1' }]).catch(e => e.code)
     answer({ before, after: await hostSysctl.read('${KEY}'), absent, refused })`,
  )
  expect(result).toEqual({ before: '0', after: '1', absent: null, refused: 'sysctl-failed' })
})
