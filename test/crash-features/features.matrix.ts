/** One run of every cell, and the bugs that they have to notice. */
import { afterAll, beforeAll, describe, test } from 'vitest'
import { mariadbProblem } from '../../scripts/servers/mariadb.ts'
import { isPresent } from '../../scripts/servers/present.ts'
import { brokerProblem } from '../../scripts/servers/rabbitmq.ts'
import { turns } from '../crash-matrix/turns.ts'
import { clusterAvailable } from '../postgres/cluster.ts'
import { cellRun, clean, plantedIn } from './expected.ts'
import { openPlace, type Place, runIn } from './matrix.ts'
import { type Road, roads } from './plan.ts'
import { crashPoints } from './points.ts'

const AT_ONCE = 3
const servers = isPresent(brokerProblem())
const databases = {
  postgres: clusterAvailable() && servers,
  mysql: isPresent(mariadbProblem()) && servers,
  sqlite: true,
}
const isHere = ({ database }: Road): boolean => databases[database]
const turn = turns(AT_ONCE)
let place: Place

beforeAll(async () => {
  place = await openPlace(roads.filter(isHere))
})
afterAll(() => place[Symbol.asyncDispose](), 60_000)

const limits = { timeout: 1_200_000 }

describe.each(roads.map((road) => [road.name, road] as const))('P1 P2 P4: %s', (_, road) => {
  const cells = crashPoints.filter(({ steps }) => steps(road.database) !== undefined)
  test.skipIf(!isHere(road)).concurrent.for(cells)(
    'killed at $name: $meaning',
    limits,
    async (point, { expect }) => {
      const { findings } = await turn(() => runIn(place, { point, road }))
      expect(findings).toEqual(clean)
    },
  )

  test.skipIf(!isHere(road)).concurrent.for(plantedIn(road))(
    'a bus with a bug is noticed: $bug',
    limits,
    async ({ bug, point, check }, { expect }) => {
      const { findings } = await turn(() => runIn(place, cellRun(road, point, bug)))
      expect(findings[check]).not.toEqual([])
    },
  )
})
