/**
 * One run of every cell. `CRASH_ROUNDS=5` for a thorough look; `npm run crash-matrix` prints the
 * table.
 */
import { afterAll, beforeAll, describe, test } from 'vitest'
import { mariadbProblem } from '../../scripts/servers/mariadb.ts'
import { isPresent } from '../../scripts/servers/present.ts'
import { brokerProblem } from '../../scripts/servers/rabbitmq.ts'
import { kafkaIsHere } from '../kafka/server.ts'
import { natsIsHere } from '../nats/server.ts'
import { clusterAvailable } from '../postgres/cluster.ts'
import { redisIsHere } from '../redis/server.ts'
import { type Outcome, runCell } from './cell.ts'
import { laterIn } from './matrix.ts'
import { openPlace, type Place } from './place.ts'
import type { RelayKind } from './plan.ts'
import { type Cell, type CellRun, cells, relayKinds } from './points.ts'
import { turns } from './turns.ts'

const ROUNDS = Number(process.env['CRASH_ROUNDS'] ?? 1)
/** Most of a cell is waiting for claims and for processes to start. */
const AT_ONCE = 3

const databases = { postgres: clusterAvailable(), mysql: isPresent(mariadbProblem()) }
const brokers = {
  rabbitmq: isPresent(brokerProblem()),
  nats: natsIsHere(),
  redis: redisIsHere(),
  kafka: kafkaIsHere(),
}
const isHere = ({ database, broker }: Pick<RelayKind, 'database' | 'broker'>): boolean =>
  databases[database] && brokers[broker ?? 'rabbitmq']
const kinds = relayKinds.filter(isHere)
const turn = turns(AT_ONCE)
let place: Place

beforeAll(async () => {
  if (kinds.length > 0) place = await openPlace(kinds)
})
afterAll(() => (kinds.length > 0 ? place[Symbol.asyncDispose]() : undefined), 60_000)

/** Cells of all tests share the machine, a few at a time. */
const run = (cell: CellRun): Promise<Outcome> => turn(() => runCell(place, cell))
const nothing = {
  lost: [],
  phantom: [],
  duplicateEffects: [],
  missingEffects: [],
  reordered: [],
  tooManyCopies: [],
  inbox: [],
  left: [],
}
const limits = { timeout: 1_200_000 }

const named = relayKinds.map((kind) => [kind.name, kind] as const)
describe.each(named)(
  'P1 P2 P4 P5 P6: %s: a killed process loses, invents and repeats nothing',
  (_, kind) => {
    const own = cells
      .filter((cell) => cell.kind === kind)
      .map((cell) => [cell.point.name, cell.point.meaning, cell] as const)
    test.skipIf(!isHere(kind)).concurrent.for(own)(
      'killed at %s: %s',
      limits,
      async ([, , cell], { expect }) => {
        for (let round = 0; round < ROUNDS; round += 1) {
          const { findings } = await run({ ...cell, later: laterIn(cell, round) })
          expect(findings).toEqual(nothing)
        }
      },
    )
  },
)

function cellAt(point: string, kind: string): Cell {
  const found = cells.find((cell) => cell.point.name === point && cell.kind.name === kind)
  if (found === undefined) throw new Error(`there is no cell ${point}, ${kind}`)
  return found
}

/** Roads on which the bugs have to be noticed. */
const roads = [
  { database: 'postgres', express: 'express lane', relay: 'relay program' },
  { database: 'mysql', express: 'MariaDB, express lane', relay: 'MariaDB, relay program' },
  {
    database: 'postgres',
    broker: 'nats',
    express: 'NATS, express lane',
    relay: 'NATS, relay program',
  },
  {
    database: 'postgres',
    broker: 'redis',
    express: 'Redis, express lane',
    relay: 'Redis, relay program',
  },
  {
    database: 'postgres',
    broker: 'kafka',
    express: 'Kafka, express lane',
    relay: 'Kafka, relay program',
  },
] as const

describe.each(roads)('$relay: the same checks notice a bus with a bug', (road) => {
  const noticing = test.skipIf(!isHere(road)).concurrent

  noticing(
    'without the inbox, a crash before the acknowledgement repeats an effect',
    limits,
    async ({ expect }) => {
      const { findings } = await run({ ...cellAt('C7', road.relay), bug: 'no inbox' })
      expect(findings.duplicateEffects).not.toEqual([])
    },
  )

  noticing('publishing before the commit makes phantoms', limits, async ({ expect }) => {
    // With this bug there are no rows of the outbox by which the moments of the list are known.
    const trap = { victim: 'writer', steps: [{ moment: 'publish all:written', nth: 3 }] } as const
    const cell = { ...cellAt('P4', road.express), trap }
    const { findings } = await run({ ...cell, bug: 'publish before commit' })
    expect(findings.phantom).not.toEqual([])
  })

  noticing('settling before the confirm loses messages', limits, async ({ expect }) => {
    const { findings } = await run({ ...cellAt('R9', road.express), bug: 'settle before confirm' })
    expect(findings.lost).not.toEqual([])
  })

  noticing('a run whose crash never happens is no proof', limits, async ({ expect }) => {
    await expect(run({ ...cellAt('P1', road.relay), later: 1000 })).rejects.toThrow('invalid run')
  })
})

test.skipIf(!isHere({ database: 'postgres' }))(
  'relay that reads the log: settling before the confirm loses messages',
  limits,
  async ({ expect }) => {
    const cell = cellAt('R9', 'relay that reads the log')
    const { findings } = await run({ ...cell, bug: 'settle before confirm' })
    expect(findings.lost).not.toEqual([])
  },
)
