import { describe, expect, test } from 'vitest'
import { crashPoints, relayKinds } from './points.ts'

describe('the list of points', () => {
  test('has all 37 of the well-known list', () => {
    const listed = crashPoints.filter((point) => point.listed).map(({ name }) => name)
    const numbered = (letter: string, last: number): string[] =>
      Array.from({ length: last }, (_, index) => `${letter}${index + 1}`)
    expect(listed).toHaveLength(37)
    expect([...listed].sort()).toEqual(
      [
        ...numbered('P', 6),
        ...numbered('R', 14),
        ...numbered('C', 10),
        ...numbered('M', 3),
        'D1',
        'D2',
        'S1',
        'S2',
      ].sort(),
    )
  })

  test('says of every point where it does not exist, and why', () => {
    const silent = crashPoints.filter(
      ({ trap, absent }) =>
        absent.length === 0 && relayKinds.some((kind) => trap(kind) === undefined),
    )
    expect(silent.map(({ name }) => name)).toEqual([])
  })
})
