import { number } from './format.ts'
import { FAINT, line, page, r, text, ticks } from './svg.ts'

export interface Point {
  readonly series: string
  readonly x: number
  readonly median: number
  readonly min: number
  readonly max: number
}

const WIDTH = 720
const HEIGHT = 340
const LEFT = 70
const RIGHT = 150
const TOP = 56
const BOTTOM = 50
const COLOURS = ['#0b6e4f', '#c8553d', '#3d5a80', '#b08900', '#7b4b94', '#5c677d']

/** x on a logarithmic axis (what scales here spans four decades), y from zero; the whisker is min to max. */
export const curves = ({
  title,
  caption,
  axis,
  points,
}: {
  readonly title: string
  readonly caption: string
  readonly axis: string
  readonly points: readonly Point[]
}): string => {
  const xs = [...new Set(points.map(p => p.x))].sort((a, b) => a - b)
  const low = Math.log10(xs[0] ?? 1)
  const high = Math.log10(xs.at(-1) ?? 10)
  const max = Math.max(...points.map(p => p.max), Number.MIN_VALUE)
  const px = (x: number): number =>
    LEFT + ((Math.log10(x) - low) / Math.max(high - low, 1e-9)) * (WIDTH - LEFT - RIGHT)
  const py = (y: number): number => HEIGHT - BOTTOM - (y / max) * (HEIGHT - TOP - BOTTOM)
  const names = [...new Set(points.map(p => p.series))]

  const grid = [
    ...ticks(max).flatMap(y => [
      line(LEFT, py(y), WIDTH - RIGHT, py(y), FAINT),
      text(LEFT - 6, r(py(y) + 4), number(y), 'text-anchor="end" font-size="11"'),
    ]),
    ...xs.map(x =>
      text(r(px(x)), HEIGHT - BOTTOM + 18, x.toLocaleString('en'), 'text-anchor="middle" font-size="11"'),
    ),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, axis, 'text-anchor="middle" font-size="12"'),
  ]
  const drawn = names.flatMap((name, i) => {
    const colour = COLOURS[i % COLOURS.length] ?? '#000'
    const own = points.filter(p => p.series === name).sort((a, b) => a.x - b.x)
    const path = own.map(p => `${r(px(p.x))},${r(py(p.median))}`).join(' ')
    return [
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...own.map(p => line(px(p.x), py(p.min), px(p.x), py(p.max), colour)),
      ...own.map(p => `<circle cx="${r(px(p.x))}" cy="${r(py(p.median))}" r="3.5" fill="${colour}"/>`),
      `<rect x="${WIDTH - RIGHT + 14}" y="${TOP + i * 20 - 9}" width="12" height="12" fill="${colour}"/>`,
      text(WIDTH - RIGHT + 32, TOP + i * 20 + 2, name),
    ]
  })
  return page(WIDTH, HEIGHT, [
    text(12, 20, title, 'font-weight="600"'),
    text(12, 38, caption, 'font-size="12"'),
    ...grid,
    ...drawn,
  ])
}
