import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serverAnswers } from '../postgres/database.ts'
import { openPrivateBroker, type PrivateBroker, rabbitIsHere } from '../rabbitmq/broker.ts'
import { witnessTables } from './postgres-relays/witness.ts'
import { audit, type Findings } from './relay-program/audit.ts'
import { readLog } from './relay-program/log.ts'
import {
  followBacklog,
  openPlace,
  type Place,
  rows,
  startRelay,
  until,
} from './relay-program/place.ts'
import { psqlIsHere } from './relay-program/psql.ts'
import { restartEach, type Stop } from './relay-program/rolling.ts'
import { numbers, type Work, write, type Written } from './relay-program/writer.ts'

/** `PROGRAM_MESSAGES=100000` for a thorough look, with its figures on standard output. */
const MESSAGES = Number(process.env['PROGRAM_MESSAGES'] ?? 3000)
const PSQLS = 3
/**
 * While relays are restarted, writers wait when this number of rows wait: enough for full hands,
 * and soon drained.
 */
const BACKLOG = 2000
/**
 * Between two transactions of one psql during the small rolling restart, lest it becomes a big one.
 */
const PAUSE_MS = MESSAGES > 10_000 ? 0 : 40
/** What `mersal relay` allows itself unless told otherwise. */
const GRACE_MS = 8000

const present = (await serverAnswers()) && (await rabbitIsHere()) && psqlIsHere()

const nothingWrong = {
  lost: 0,
  phantom: 0,
  duplicates: 0,
  inversions: 0,
  altered: 0,
  examples: [],
  left: 0,
}

function report(figures: unknown): void {
  if (process.env['PROGRAM_MESSAGES'] !== undefined)
    process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`)
}

/** Several psql at once. `enough`: as in `Work`, for all of them together. */
async function writeAll(
  place: Place,
  options: Pick<Work, 'notifies' | 'enough' | 'pace'>,
): Promise<readonly Written[]> {
  const work: Work = {
    schema: place.database.schema,
    log: place.log,
    numbers: numbers(),
    ...options,
  }
  return await Promise.all(Array.from({ length: PSQLS }, () => write(work)))
}

const found = async ({ database: { pool, schema }, broker, log }: Place): Promise<Findings> =>
  await audit(pool, schema, log, await readLog(broker, log))

describe.skipIf(!present)('mersal relay as a program, at scale', () => {
  let broker: PrivateBroker

  beforeAll(async () => {
    broker = await openPrivateBroker()
  })
  afterAll(async () => {
    await broker[Symbol.asyncDispose]()
  })

  test('P2 P5 P6 P12: what psql alone has sent arrives whole, once, byte for byte and in the order of the commits', {
    timeout: 120_000 + MESSAGES * 5,
  }, async () => {
    await using place = await openPlace(broker.url)
    const startedAt = performance.now()
    const writing = writeAll(place, {
      notifies: false,
      enough: (messages) => messages >= MESSAGES / PSQLS,
    })
    await until(place, 'business', (count) => count >= MESSAGES / 2)
    const relay = await startRelay(place, 'relay')
    const relayAt = performance.now()
    const written = await writing
    const writtenAt = performance.now()
    await until(place, 'outbox', (count) => count === 0)
    const drainedAt = performance.now()
    const { code } = await relay.running.signal('SIGTERM')
    const findings = await found(place)
    const seconds = {
      written: writtenAt - startedAt,
      relay: drainedAt - relayAt,
      drained: drainedAt - startedAt,
    }
    report({
      findings,
      written,
      seconds,
      perSecond: Math.round((findings.published * 1000) / seconds.relay),
    })
    for (const { rolledBack, series } of written)
      expect(Math.min(rolledBack, series)).toBeGreaterThan(0)
    expect(findings.committed).toBeGreaterThanOrEqual(MESSAGES)
    expect(findings.keyed).toBeLessThan(findings.committed)
    expect(findings).toMatchObject(nothingWrong)
    expect(code).toBe(0)
  })

  test('P2 P5 P6 P11: three relays restarted in turn, twice, with their hands full, lose, invent, repeat and reorder nothing', {
    timeout: 120_000 + MESSAGES * 5,
  }, async () => {
    await using place = await openPlace(broker.url)
    await place.database.query(witnessTables(place.database.schema))
    let restarted = false
    const startedAt = performance.now()
    await using backlog = followBacklog(place)
    const pause = async (): Promise<void> => {
      do await sleep(PAUSE_MS)
      while (backlog.rows > BACKLOG)
    }
    const writing = writeAll(place, {
      notifies: true,
      enough: (messages) => restarted && messages >= MESSAGES / PSQLS,
      pace: pause,
    })
    const relays = await Promise.all(
      [1, 2, 3].map((number) => startRelay(place, `relay ${number}`)),
    )
    let share = 0
    // Spread over the whole run, with messages under way all the time.
    const pace = async (): Promise<void> => {
      share += 1
      await until(place, 'business', (count) => count >= (MESSAGES * share) / 8)
    }
    const stops: Stop[] = [
      ...(await restartEach(place, relays, pace)),
      ...(await restartEach(place, relays, pace)),
    ]
    restarted = true
    const written = await writing
    await until(place, 'outbox', (count) => count === 0)
    const drainedAt = performance.now()
    const last = await Promise.all(relays.map(({ running }) => running.signal('SIGTERM')))
    const findings = await found(place)
    const seconds = (drainedAt - startedAt) / 1000
    report({
      findings,
      written,
      stops,
      seconds,
      perSecond: Math.round(findings.published / seconds),
    })
    expect(await rows(place, 'business')).toBeGreaterThanOrEqual(MESSAGES)
    expect(stops.filter(({ held }) => held > 0)).toHaveLength(6)
    expect([...stops, ...last].filter(({ code }) => code !== 0)).toEqual([])
    expect(Math.max(...stops.map(({ ms }) => ms))).toBeLessThan(GRACE_MS)
    expect(findings).toMatchObject(nothingWrong)
  })
})
