import { describe, expect, test } from 'vitest'
import { createDueRows } from '../../../../src/outbox/claim/due-rows.ts'
import type { Grant } from '../../../../src/outbox/limits/shares.ts'

const numbered = (from: number, count: number): bigint[] =>
  Array.from({ length: count }, (_, index) => BigInt(from + index))
const grant = (turn: Grant['turn'], rows: 'all' | 'slow'): Grant => ({
  turn,
  rows,
  limit: 500,
  except: [],
})

/** Rows that have fallen due at this time, and what was left to the other looks. */
function setUp() {
  const left: bigint[] = []
  const rows = createDueRows((positions) => left.push(...positions))
  const fallDue = (positions: readonly bigint[], at: number): void => {
    rows.expect(
      { rows: positions.map((position) => ({ at, position })), behind: undefined },
      at - 1,
    )
    rows.fallDue(at)
  }
  return { rows, left, fallDue }
}

describe('delayed rows that have fallen due', () => {
  test('are asked for 500 at a time, also when what was slow is slow no more', () => {
    const { rows, left, fallDue } = setUp()
    fallDue(numbered(0, 500), 1000)
    // A look for all leaves slow destinations alone, so that these are looked at once more.
    rows.found(rows.look(grant('others', 'all')), grant('others', 'all'), false)
    fallDue(numbered(500, 500), 2000)
    const looks: bigint[][] = []
    while (rows.waiting !== undefined && looks.length < 10) {
      const look = rows.look(grant('all', rows.waiting))
      rows.found(look, grant('all', 'all'), false)
      looks.push([...look.positions])
    }
    expect(looks.map(({ length }) => length)).toEqual([500, 500])
    expect(looks.flat().sort((a, b) => Number(a - b))).toEqual(numbered(0, 1000))
    expect(left).toEqual([])
  })

  test('beyond 500 are left to the other looks', () => {
    const { rows, left, fallDue } = setUp()
    fallDue(numbered(0, 501), 1000)
    expect(left).toEqual([500n])
    expect(rows.look(grant('all', 'all')).positions).toEqual(numbered(0, 500))
    expect(rows.waiting).toBeUndefined()
  })

  test('are asked for once each, also if they are told of again while they wait', () => {
    const { rows, fallDue } = setUp()
    fallDue([1n, 2n], 1000)
    rows.found(rows.look(grant('others', 'all')), grant('others', 'all'), false)
    fallDue([2n, 3n], 2000)
    expect(rows.look(grant('all', 'all')).positions).toEqual([2n, 3n, 1n])
  })
})
