import { number } from './format.ts'
import { FAINT, INK, line, OTHER, OWN, page, r, text, ticks } from './svg.ts'

export interface Bar {
  readonly series: string
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Of the 13 px system font; generous. */
const CHARACTER = 7.2
const RIGHT = 90
const WIDTH = 720
const TOP = 52
const ROW = 26

/** A bar a contestant, its median; the thin line is its smallest to largest sample. */
export const bars = ({
  title,
  caption,
  points,
}: {
  readonly title: string
  readonly caption: string
  readonly points: readonly Bar[]
}): string => {
  const max = Math.max(...points.map(p => p.max), Number.MIN_VALUE)
  const left = Math.round(Math.max(...points.map(p => p.series.length)) * CHARACTER) + 20
  const scale = (value: number): number => (value / max) * (WIDTH - left - RIGHT)
  const bottom = TOP + points.length * ROW
  const grid = ticks(max).flatMap(value => [
    line(left + scale(value), TOP - 4, left + scale(value), bottom, FAINT),
    text(r(left + scale(value)), bottom + 16, number(value), 'text-anchor="middle" font-size="11"'),
  ])
  const rows = points.flatMap((p, i) => {
    const y = TOP + i * ROW
    const middle = y + ROW / 2 - 2
    const colour = p.series.startsWith('portctl') ? OWN : OTHER
    return [
      text(left - 8, middle + 4, p.series, 'text-anchor="end"'),
      `<rect x="${left}" y="${y + 2}" width="${r(scale(p.median))}" height="${ROW - 8}" fill="${colour}"/>`,
      line(left + scale(p.min), middle, left + scale(p.max), middle, INK),
      line(left + scale(p.min), middle - 4, left + scale(p.min), middle + 4, INK),
      line(left + scale(p.max), middle - 4, left + scale(p.max), middle + 4, INK),
      text(r(left + scale(p.max) + 6), middle + 4, number(p.median)),
    ]
  })
  return page(WIDTH, bottom + 28, [
    text(12, 20, title, 'font-weight="600"'),
    text(12, 38, caption, 'font-size="12"'),
    ...grid,
    ...rows,
  ])
}
