import type { VNode } from 'preact'
import type { Point } from '../live.ts'

const WIDTH = 240
const HEIGHT = 56
const SLOTS = 60

/** What came in and what left, lately. */
export function Curve({ points, label }: { points: readonly Point[]; label: string }): VNode {
  const most = Math.max(1, ...points.flatMap(({ added, left }) => [added, left]))
  const line = (of: (point: Point) => number): string =>
    points
      .map((point, index) => {
        const x = ((SLOTS - points.length + index) / (SLOTS - 1)) * WIDTH
        const y = HEIGHT - 3 - (of(point) / most) * (HEIGHT - 6)
        return `${x.toFixed(1)},${y.toFixed(1)}`
      })
      .join(' ')
  const lefts = line(({ left }) => left)
  const firstX = (((SLOTS - points.length) / (SLOTS - 1)) * WIDTH).toFixed(1)
  return (
    <svg
      class="curve"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <line x1="0" y1={HEIGHT - 1} x2={WIDTH} y2={HEIGHT - 1} class="curve-base" />
      {points.length < 2 ? null : (
        <>
          <polygon class="curve-fill" points={`${firstX},${HEIGHT} ${lefts} ${WIDTH},${HEIGHT}`} />
          <polyline class="curve-left" points={lefts} />
          <polyline class="curve-added" points={line(({ added }) => added)} />
        </>
      )}
    </svg>
  )
}
