/** How what the daemon answers is shown to people: lines, tables, sizes. */
import type { TakenBack } from '../api/views.ts'
import { bracketed, formatPorts, formatSocketAddress } from '../core/socket-address.ts'

/** Rows under a heading, columns aligned two spaces apart; nothing trails the last one. */
export const table = (
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  style: (text: string) => string,
): string => {
  const widths = heading.map((title, i) => Math.max(title.length, ...rows.map(row => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
  return [style(line(heading)), ...rows.map(line)].join('\n')
}

/** `0.0.0.0:8080, [::]:8080` */
export const hostSide = (p: TakenBack): string =>
  p.hostIps.map(ip => formatSocketAddress(ip, { first: p.hostPort, last: p.hostPortEnd })).join(', ')

/** `web 172.18.0.2:80/tcp`; without the name when the target is no container of ours. */
export const targetSide = (p: TakenBack): string => {
  const place = /^(pid|netns):|^\[/.test(p.target) ? p.target : bracketed(p.target)
  const ports = formatPorts({ first: p.targetPort, last: p.targetPortEnd })
  return `${p.container === null ? '' : `${p.container} `}${place}:${ports}/${p.protocol}`
}

/** `0.0.0.0:8080, [::]:8080 -> web 172.18.0.2:80/tcp via kernel [3f9c1a2b4d5e]` */
export const publicationLine = (p: TakenBack): string =>
  `${hostSide(p)} -> ${targetSide(p)} via ${p.via} [${p.name === null ? '' : `${p.name} `}${p.id}]`

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** Decimal units, three digits or so: `0 B`, `1.2 kB`, `34 MB`. */
export const formatBytes = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`
}

/** `47s`, `3m 20s`, `2h 5m`, `11d 4h`: the two largest units. */
export const formatDuration = (seconds: number): string => {
  const whole = Math.floor(seconds)
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3_600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's'],
  ]
  const from = parts.findIndex(([n]) => n > 0)
  if (from < 0) return '0s'
  return parts
    .slice(from, from + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n}${unit}`)
    .join(' ')
}

/** Indented, as people read it; programs do not mind. */
export const formatJson = (value: unknown): string => JSON.stringify(value, null, 2)
