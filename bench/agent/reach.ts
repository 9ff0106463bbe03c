/** When a port begins to answer. */
import { connect } from 'node:net'
import { type Address, type Agent, monotonic } from './protocol.ts'

/** An unanswered SYN would be sent again after a second: give up sooner and ask anew. */
const PATIENCE = 50

export const reach: Agent['reach'] = async ({ timeout, ...address }) => {
  const deadline = monotonic() + timeout
  while (!(await answers(address))) {
    if (monotonic() > deadline)
      throw new Error(`${address.host}:${address.port} not reached in ${timeout} ms`)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  return monotonic()
}

const answers = (address: Address): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(address)
    const settle = (answered: boolean): void => {
      socket.destroy()
      resolve(answered)
    }
    socket.setTimeout(PATIENCE, () => settle(false))
    socket.on('error', () => settle(false))
    socket.on('close', () => settle(false))
    socket.on('data', () => settle(true))
    socket.write('GET / HTTP/1.1\r\nHost: container\r\nConnection: close\r\n\r\n')
  })
