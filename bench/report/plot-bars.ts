import { number } from './format.ts'
import { FAINT, INK, line, OTHER, OWN, page, r, text, ticks } from './svg.ts'

export interface Bar {
  readonly series: string
  readonly median: number
  readonly min: number
  readonly max: number
}

const LEFT = 130
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
  const scale = (value: number): number => (value / max) * (WIDTH - LEFT - RIGHT)
  const bottom = TOP + points.length * ROW
  const grid = ticks(max).flatMap(value => [
    line(LEFT + scale(value), TOP - 4, LEFT + scale(value), bottom, FAINT),
    text(r(LEFT + scale(value)), bottom + 16, number(value), 'text-anchor="middle" font-size="11"'),
  ])
  const rows = points.flatMap((p, i) => {
    const y = TOP + i * ROW
    const middle = y + ROW / 2 - 2
    const colour = p.series.startsWith('portctl') ? OWN : OTHER
    return [
      text(LEFT - 8, middle + 4, p.series, 'text-anchor="end"'),
      `<rect x="${LEFT}" y="${y + 2}" width="${r(scale(p.median))}" height="${ROW - 8}" fill="${colour}"/>`,
      line(LEFT + scale(p.min), middle, LEFT + scale(p.max), middle, INK),
      line(LEFT + scale(p.min), middle - 4, LEFT + scale(p.min), middle + 4, INK),
      line(LEFT + scale(p.max), middle - 4, LEFT + scale(p.max), middle + 4, INK),
      text(r(LEFT + scale(p.max) + 6), middle + 4, number(p.median)),
    ]
  })
  return page(WIDTH, bottom + 28, [
    text(12, 20, title, 'font-weight="600"'),
    text(12, 38, caption, 'font-size="12"'),
    ...grid,
    ...rows,
  ])
}
