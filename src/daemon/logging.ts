/**
 * Logs: JSON lines on stderr, or for a terminal the same made readable. pino-pretty is loaded only for a terminal, and
 * as a stream in this thread: pino's transports are worker threads that look for files beside the bundle.
 */
import { type Logger, type LoggerOptions, pino } from 'pino'

export type { Logger } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

const STDERR = 2

export const createLogger = async (level: LogLevel = 'info'): Promise<Logger> => {
  const options: LoggerOptions = {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: label => ({ level: label }) },
  }
  if (!process.stderr.isTTY) return pino(options, pino.destination({ dest: STDERR, sync: true }))
  const { default: pretty } = await import('pino-pretty')
  return pino(
    options,
    pretty({
      destination: STDERR,
      sync: true,
      ignore: 'pid',
      translateTime: 'SYS:HH:MM:ss.l',
      colorize: !process.env.NO_COLOR,
    }),
  )
}
