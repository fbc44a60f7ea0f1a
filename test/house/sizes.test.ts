import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { namedPlaces } from './rules.ts'
import { type Shape, shapes, type Shapes } from './shapes.ts'
import { root } from './sources.ts'

const MOST_LINES = 60
const MOST_FIELDS = 10

/**
 * Functions that are still longer, with exactly their lines. The list, and each number, may only
 * shrink.
 */
const stillTooLong: ReadonlyMap<string, number> = new Map([
  // One function of the database, in one text.
  ['src/transports/postgres/schema.ts: put', 70],
])

/** One field for each documented option. */
const stillTooWide: ReadonlyMap<string, number> = new Map([])

/** Those above the bound that have no excuse, and the excuses that are not exactly needed. */
function unexcused(
  found: readonly Shape[],
  most: number,
  excused: ReadonlyMap<string, number>,
): string[] {
  const sizes = new Map(found.map(({ name, size }) => [name, size]))
  return [
    ...found
      .filter(({ name, size }) => size > most && !excused.has(name))
      .map(({ name, size }) => `${name} has ${size}, more than ${most}`),
    ...[...excused].flatMap(([name, excuse]) => {
      const size = sizes.get(name) ?? 0
      if (size <= most) return [`${name} needs no excuse: it has ${size}`]
      return size === excuse ? [] : [`${name} has ${size}, but its excuse is ${excuse}`]
    }),
  ]
}

describe('the sizes of the sources', { timeout: 60_000 }, () => {
  let found: Shapes
  beforeAll(() => {
    found = shapes()
  }, 60_000)

  test('are found at all', () => {
    const names = found.functions.map(({ name }) => name)
    expect(names).toContain('src/outbox/relay.ts: createRelay')
    expect(names).toContain('src/lib/async/mutex.ts: run')
    expect(found.interfaces).toContainEqual({ name: 'src/lib/async/clock.ts: Clock', size: 3 })
  })

  test('are at most 60 lines per function', () => {
    expect(unexcused(found.functions, MOST_LINES, stillTooLong)).toEqual([])
  })

  test('are at most 10 fields per interface of the relay', () => {
    const ofTheRelay = found.interfaces.filter(({ name }) => name.startsWith('src/outbox/'))
    expect(unexcused(ofTheRelay, MOST_FIELDS, stillTooWide)).toEqual([])
  })
})

test('a size above the bound, and an excuse that is too small, too large or not needed, are seen', () => {
  const excused = new Map([['b', 80]])
  const sizes = [
    { name: 'a', size: 60 },
    { name: 'b', size: 80 },
  ]
  expect(unexcused(sizes, 60, excused)).toEqual([])
  const changed = (by: number): Shape[] =>
    sizes.map(({ name, size }) => ({ name, size: size + by }))
  expect(unexcused(changed(1), 60, excused)).toEqual([
    'a has 61, more than 60',
    'b has 81, but its excuse is 80',
  ])
  expect(unexcused(changed(-1), 60, excused)).toEqual(['b has 79, but its excuse is 80'])
  expect(unexcused(changed(-20), 60, excused)).toEqual(['b needs no excuse: it has 60'])
  expect(unexcused([], 60, excused)).toEqual(['b needs no excuse: it has 0'])
})

test('the rules of the house name only folders and files that exist', () => {
  const exists = (place: string): boolean =>
    existsSync(join(root, place)) || existsSync(join(root, `${place}.ts`))
  expect(namedPlaces.filter((place) => !exists(place))).toEqual([])
})
