/**
 * A database of version 0.1 with messages in flight gets the tables of the present version, and
 * goes back to the programs of 0.1: docs/upgrading.md.
 */
import { expect, test } from 'vitest'
import { serverAnswers as mysqlAnswers } from '../mysql/server.ts'
import { serverAnswers } from '../postgres/database.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import { withVhost } from '../rabbitmq/with-vhost.ts'
import { PREVIOUS, previousBuild } from '../chaos/builds.ts'
import { loadAdapters } from '../chaos/source.ts'
import { openMysqlPlace } from './places/mysql.ts'
import type { Place } from './places/place.ts'
import { openPostgresPlace } from './places/postgres.ts'
import { openSqlitePlace } from './places/sqlite.ts'
import { type Body, DELAYED, DELAYED_AT_ONCE, HELD, keyed, STRAY } from './plan.ts'
import { type Journey, upAndBack } from './scenario.ts'

/** The commit that brought the store for MariaDB: its tables have version 1. */
const FIRST_MYSQL = 'c251b7178acc72048c5bdd35f74b7662caccf575'

const present = await serverAnswers()
const mariadb = await mysqlAnswers()
const broker = await rabbitIsHere()
const vhosts = [withVhost(broker), withVhost(broker)] as const

/** The first copy of each message, in the order of arrival. */
function firsts(bodies: readonly Body[], line: string): readonly number[] {
  return [...new Set(bodies.filter((body) => body.line === line).map(({ n }) => n))]
}

const upTo = (n: number): readonly number[] => Array.from({ length: n }, (_, index) => index + 1)
const sorted = (numbers: readonly number[]): readonly number[] => numbers.toSorted((a, b) => a - b)

/** Nothing lost, nothing invented, each key in order, each effect once. */
function checkLines({ counters, arrivals, strays, effects }: Journey): void {
  for (const [line, n] of Object.entries(counters)) {
    const missing = line === HELD || line === STRAY
    const arrived = firsts(missing ? strays : arrivals, line)
    const inOrder = keyed.includes(line) || line === HELD
    expect(inOrder ? arrived : sorted(arrived), `${line}, arrived`).toEqual(upTo(n))
    const done = effects.filter((effect) => effect.line === line).map((effect) => effect.n)
    expect(sorted(done), `${line}, took effect`).toEqual(missing ? [] : upTo(n))
  }
}

function check(journey: Journey): void {
  checkLines(journey)
  const { counters, letters, waited, published, handled } = journey
  expect(journey.refused).toContain('MERSAL_SCHEMA')
  expect(counters[DELAYED]).toBe(2 * DELAYED_AT_ONCE)
  expect(waited.every((n) => n > 0)).toBe(true)
  expect(Math.min(...Object.values(published), ...Object.values(handled))).toBeGreaterThan(0)
  const [before, beside, after] = letters
  expect(before?.map(({ blocksKey }) => blocksKey).toSorted()).toEqual([false, true])
  expect(beside).toEqual(expect.arrayContaining([...(before ?? [])]))
  expect(beside?.map(({ attempts }) => attempts.join()).toSorted()).toEqual(['', '', '1,2'])
  expect(after).toEqual(beside?.map((letter) => ({ ...letter, attempts: [] })))
  expect(journey.kept).toBe(Object.values(counters).reduce((sum, n) => sum + n, 0))
}

async function go(open: (build: string) => Promise<Place>, commit: string): Promise<string> {
  await using previous = await previousBuild(commit)
  await using place = await open(previous.first.source)
  const journey = await upAndBack(place, previous)
  check(journey)
  return journey.migrated
}

test('on SQLite, with its queue', { concurrent: true }, async () => {
  const migrated = await go(
    async (source) => openSqlitePlace((await loadAdapters(source)).sqlite),
    PREVIOUS,
  )
  expect(migrated).toContain('from version 2 to 6')
})

test.skipIf(!(present && broker))(
  'on PostgreSQL, with RabbitMQ',
  { concurrent: true },
  async () => {
    const migrated = await go(() => openPostgresPlace(vhosts[0].url), PREVIOUS)
    expect(migrated).toContain('from version 4 to 14')
  },
)

test.skipIf(!(mariadb && broker))('on MariaDB, with RabbitMQ', { concurrent: true }, async () => {
  const migrated = await go(() => openMysqlPlace(vhosts[1].url), FIRST_MYSQL)
  expect(migrated).toContain('from version 1 to 4')
})
