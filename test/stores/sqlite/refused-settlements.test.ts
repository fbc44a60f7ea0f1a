import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { systemClock } from '../../../src/lib/async/clock.ts'
import { uuidv7 } from '../../../src/lib/uuid.ts'
import { createRelay } from '../../../src/outbox/relay.ts'
import { relaySettings } from '../../../src/outbox/options.ts'
import { sqlite } from '../../../src/sqlite.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'
import { message, refusedForGood, testTransport } from '../../unit/outbox/support.ts'

const refuse = (table: string): string =>
  `CREATE TRIGGER refuse BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'not in this table'); END`

/**
 * Publishes twenty messages, of which one is refused, on a file that was changed by these
 * statements.
 */
async function publishTwenty(
  keepSentMs: number,
  change: string,
): Promise<{ published: number; left: string[]; kept: number; reached: number }> {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  await using store = sqlite({ path, keepSentMs, logger: silentLogger })
  await store.open()
  const database = new DatabaseSync(path)
  database.exec(change)
  const transport = testTransport()
  transport.behaviour = ({ id }) => (id === 'm7' ? refusedForGood : { kind: 'confirmed' })
  const relay = createRelay({
    environment: {
      app: 'test',
      logger: silentLogger,
      clock: systemClock,
      random: Math.random,
      newToken: () => uuidv7(Date.now()),
    },
    storage: store.outbox,
    transports: new Map([['default', transport]]),
    settings: relaySettings({ pollIntervalMs: 50 }),
  })
  relay.start()
  const add = (name: string): Promise<unknown> =>
    store.unitOfWork((tx) =>
      store.outbox.save(
        tx,
        Array.from({ length: 10 }, (_, index) => message(`${name}${index}`)),
      ),
    )
  await add('m')
  await expect.poll(() => transport.published.length, { timeout: 10_000 }).toBe(10)
  await expect.poll(() => relay.held, { timeout: 10_000 }).toBe(0)
  await add('later')
  await expect.poll(() => transport.published.length, { timeout: 10_000 }).toBe(20)
  await expect.poll(() => relay.held, { timeout: 10_000 }).toBe(0)
  await relay.stop()
  const left = (database.prepare('SELECT id FROM mersal_outbox').all() as { id: string }[]).map(
    ({ id }) => id,
  )
  const kept = (database.prepare('SELECT count(*) AS n FROM mersal_sent').get() as { n: number }).n
  const { reached } = database
    .prepare('SELECT coalesce(max(position), 0) AS reached FROM mersal_sent')
    .get() as { reached: number }
  database.close()
  return { published: transport.published.length, left, kept, reached }
}

test('P8: on SQLite, a trigger that refuses dead letters stops nothing else', async () => {
  expect(await publishTwenty(0, refuse('mersal_dead_letters'))).toMatchObject({
    published: 20,
    left: ['m7'],
  })
})

test('P6: on SQLite, messages that cannot be kept are published once and leave the outbox', async () => {
  expect(await publishTwenty(86_400_000, refuse('mersal_sent'))).toMatchObject({
    published: 20,
    left: [],
    kept: 0,
  })
})

test('on SQLite, kept messages whose positions were used before are kept beside those of now', async () => {
  const before = `INSERT INTO mersal_sent (position, sent_at, id, type, transport, kind, name, created_at, headers, body)
    VALUES (1, unixepoch() * 1000, 'old', 't', 'default', 'queue', 'q', 0, '{}', x'')`
  expect(await publishTwenty(86_400_000, before)).toMatchObject({
    published: 20,
    left: [],
    kept: 20,
    reached: 20,
  })
})

test('on SQLite, a damaged row that cannot become a dead letter lets the others be claimed', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  await using store = sqlite({ path, logger: silentLogger })
  await store.unitOfWork((tx) =>
    store.outbox.save(tx, [message('a'), message('damaged'), message('b')]),
  )
  const database = new DatabaseSync(path)
  database.exec(
    `${refuse('mersal_dead_letters')}; UPDATE mersal_outbox SET headers = '[]' WHERE id = 'damaged'`,
  )
  const rows = await store.outbox.claim({ limit: 10, claimMs: 60_000, token: 'a' })
  expect(rows.map((row) => row.message.id)).toEqual(['a', 'b'])
  const aside = database
    .prepare("SELECT token, attempts, visible_at FROM mersal_outbox WHERE id = 'damaged'")
    .get() as {
    visible_at: number
  }
  database.close()
  // No attempt is counted; below 0 says that it has been in hand.
  expect(aside).toMatchObject({ token: null, attempts: -1 })
  expect(aside.visible_at).toBeGreaterThan(Date.now() + 240_000)
})
