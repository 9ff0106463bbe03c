/** Numbers for people: three significant digits, thousands separated. */
export const number = (value: number): string => {
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1)
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 6 })
}
