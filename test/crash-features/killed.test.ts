/**
 * A few cells in every run of the tests; all of them, on all roads:
 * `npm run crash-features`.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cellRun, clean } from './expected.ts'
import { openPlace, type Place, runIn } from './matrix.ts'
import { roads } from './plan.ts'

const [road] = roads.filter(({ database }) => database === 'sqlite')
if (road === undefined) throw new Error('there is no road on SQLite')
let place: Place

beforeAll(async () => {
  place = await openPlace([road])
})
afterAll(() => place[Symbol.asyncDispose]())

test.each(['G10', 'A5', 'O6', 'K4'])(
  'P1 P2 P4: killed at %s on SQLite, sagas, replies, requests and reminders come out right',
  async (point) => {
    const { findings } = await runIn(place, cellRun(road, point))
    expect(findings).toEqual(clean)
  },
)

test('the same checks notice requests whose keys are not in their transactions', async () => {
  const { findings } = await runIn(place, cellRun(road, 'O6', 'no keys'))
  expect(findings.effects).not.toEqual([])
})
