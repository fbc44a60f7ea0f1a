import { expect, test } from 'vitest'
import { roads } from './plan.ts'
import { crashPoints, features } from './points.ts'

test('every feature has points, and each point a name of its own', () => {
  expect(new Set(crashPoints.map(({ feature }) => feature))).toEqual(new Set(features))
  const names = crashPoints.map(({ name }) => name)
  expect([...new Set(names)]).toEqual(names)
})

test('says of every point that is missing on a road why it is', () => {
  const silent = crashPoints.filter(
    ({ steps, absent }) =>
      absent === undefined && roads.some(({ database }) => steps(database) === undefined),
  )
  expect(silent.map(({ name }) => name)).toEqual([])
})
