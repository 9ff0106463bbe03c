/** All cases, in the order of the report. */
import type { Case } from './case.ts'
import { tcpBulk1, tcpBulk4 } from './tcp-bulk.ts'
import { tcpConnections } from './tcp-connections.ts'
import { tcpKeepalive } from './tcp-keepalive.ts'

export const CASES: readonly Case[] = [tcpKeepalive, tcpConnections, tcpBulk1, tcpBulk4]
