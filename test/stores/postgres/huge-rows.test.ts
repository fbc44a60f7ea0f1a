import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { DeadLetter } from '../../../src/core/dead-letter.ts'
import type { RelayOptions } from '../../../src/index.ts'
import { Mersal } from '../../../src/index.ts'
import { memoryNetwork } from '../../../src/memory.ts'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../postgres/database.ts'

const present = await serverAnswers()
const MB = 1_000_000

/** Content of the server's own making: it compresses well, so that the test needs no disk. */
const text = (bytes: number): string => `repeat('x', ${bytes})`

interface HugeRow {
  readonly body?: number
  readonly headers?: number
  readonly type?: number
  readonly name?: number
  readonly key?: string
}

/** Adds a row that no sender could add: by a restore, or by somebody's own insert. */
async function addHuge({ schema, query }: TestDatabase, row: HugeRow): Promise<void> {
  const { body = 2, headers, type, name, key } = row
  await query(
    `insert into ${schema}.outbox (id, key, type, transport, kind, name, headers, body)
     select gen_random_uuid(), $1, ${type === undefined ? `'huge'` : text(type)}, 'default', 'topic',
       ${name === undefined ? `'small'` : text(name)},
       ${headers === undefined ? `'{}'` : `'{"note":"' || ${text(headers)} || '"}'`}, convert_to(${text(body)}, 'UTF8')`,
    [key ?? null],
  )
}

async function addSmall(
  { schema, query }: TestDatabase,
  count: number,
  key?: string,
): Promise<void> {
  await query(
    `insert into ${schema}.outbox (id, key, type, transport, kind, name, headers, body)
     select gen_random_uuid(), $2, 'small', 'default', 'topic', 'small', '{}', '{}' from generate_series(1, $1)`,
    [count, key ?? null],
  )
}

/** An app with a relay over these tables. Whoever publishes to `small` is heard. */
async function start(database: TestDatabase, relay: RelayOptions = {}) {
  const network = memoryNetwork({ eventsWithoutSubscribers: 'discard' })
  const heard: string[] = []
  const listener = network.transport()
  await listener.subscribe('listener', ['small'])
  await listener.consume({ queue: 'listener', concurrency: 10 }, async ({ message }) => {
    await Promise.resolve()
    heard.push(message.type)
    return { kind: 'ack' }
  })
  const store = postgres({
    pool: database.newPool(),
    schema: database.schema,
    logger: silentLogger,
  })
  const app = new Mersal({
    name: 'huge',
    store,
    transport: network.transport(),
    outbox: { relay },
    logger: false,
  })
  await app.start()
  return {
    heard,
    store,
    until: async (condition: () => boolean | Promise<boolean>): Promise<void> => {
      while (!(await condition())) await sleep(20)
    },
    [Symbol.asyncDispose]: async () => {
      await app.stop()
      await listener[Symbol.asyncDispose]()
    },
  }
}

const sizeOf = async ({ schema, query }: TestDatabase, table: string): Promise<number[]> =>
  (await query(`select octet_length(body) as bytes from ${schema}.${table} order by 1`)).map(
    ({ bytes }) => bytes as number,
  )

async function migrated(): Promise<TestDatabase> {
  const database = await testDatabase()
  await using store = postgres({
    pool: database.newPool(),
    schema: database.schema,
    logger: silentLogger,
  })
  await store.open()
  return database
}

const withheld = ({ type, reason, withheldBytes, body, headers }: DeadLetter) => ({
  type: type.slice(0, 5),
  reason,
  large: (withheldBytes ?? 0) > 64 * MB,
  read: body.byteLength + Object.keys(headers).length,
})

describe.skipIf(!present)('rows on PostgreSQL that are too large to be read', () => {
  const cases: readonly (readonly [string, HugeRow])[] = [
    ['a body of 300 MB', { body: 300 * MB }],
    ['a body of 600 MB', { body: 600 * MB }],
    ['headers of 300 MB', { headers: 300 * MB }],
    ['a type of 300 MB', { type: 300 * MB }],
    ['a destination of 300 MB', { name: 300 * MB }],
  ]
  test.for(cases)(
    'P8: %s becomes a dead letter with its bytes, and 100 small rows arrive',
    { timeout: 240_000 },
    async ([, row]) => {
      await using database = await migrated()
      await addSmall(database, 50)
      await addHuge(database, row)
      await addSmall(database, 50)
      await using app = await start(database)
      await app.until(() => app.heard.length === 100)
      await app.until(async () => (await app.store.admin.stats()).dead === 1)
      const letters = await app.store.admin.deadLetters.list()
      const type = row.type === undefined ? 'huge' : 'xxxxx'
      expect(letters.map(withheld)).toEqual([{ type, reason: 'too-large', large: true, read: 0 }])
      expect(letters[0]).toMatchObject({ blocksKey: false, maybePublished: false })
      expect(letters[0]?.error).toContain('MersalError: the row has')
      expect(await sizeOf(database, 'outbox')).toEqual([row.body ?? 2])
      const overview = await app.store.operations?.overview?.({ keys: 10 })
      expect(overview).toMatchObject({ pending: 0, dead: 1 })
      expect(JSON.stringify(overview).length).toBeLessThan(5000)
      // It comes back, and is given up again; discarded, it is gone.
      expect(await app.store.admin.deadLetters.retry([letters[0]?.key ?? ''])).toBe(1)
      await app.until(async () => (await app.store.admin.stats()).dead === 1)
      expect(await app.store.admin.deadLetters.discard([letters[0]?.key ?? ''])).toBe(1)
      expect(await sizeOf(database, 'outbox')).toEqual([])
      expect(app.heard).toHaveLength(100)
    },
  )

  test('P5: under block-key it holds back its key until it is discarded', {
    timeout: 240_000,
  }, async () => {
    await using database = await migrated()
    await addHuge(database, { body: 300 * MB, key: 'k' })
    await addSmall(database, 3, 'k')
    await addSmall(database, 2)
    await using app = await start(database)
    await app.until(
      async () => app.heard.length === 2 && (await app.store.admin.stats()).dead === 1,
    )
    const [letter] = await app.store.admin.deadLetters.list()
    expect(letter).toMatchObject({ blocksKey: true, partitionKey: 'k' })
    expect(await app.store.admin.deadLetters.discard([letter?.key ?? ''])).toBe(1)
    await app.until(() => app.heard.length === 5)
  })

  test('P5: under skip its key goes on, and retried it comes back behind all of its key', {
    timeout: 240_000,
  }, async () => {
    await using database = await migrated()
    const { schema, query } = database
    await addHuge(database, { body: 300 * MB, key: 'k' })
    await addSmall(database, 3, 'k')
    await using app = await start(database, { onDead: 'skip' })
    await app.until(() => app.heard.length === 3)
    const [letter] = await app.store.admin.deadLetters.list()
    expect(letter).toMatchObject({ blocksKey: false, partitionKey: 'k', reason: 'too-large' })
    await query(`insert into ${schema}.pause (kind, name) values ('key', 'k')`)
    await sleep(1100)
    await addSmall(database, 1, 'k')
    expect(await app.store.admin.deadLetters.retry([letter?.key ?? ''])).toBe(1)
    const rows = await query(
      `select type, octet_length(body) as bytes from ${schema}.outbox where key = 'k' order by position`,
    )
    expect(rows).toEqual([
      { type: 'small', bytes: 2 },
      { type: 'huge', bytes: 300 * MB },
    ])
  })

  test('a queue hands out no such message, and keeps its bytes', { timeout: 240_000 }, async () => {
    await using database = await testDatabase()
    const { schema, query } = database
    await using queue = postgresQueue({ pool: database.newPool(), schema, logger: silentLogger })
    await queue.subscribe('q', [])
    const add = (body: string, key: string | null): Promise<unknown> =>
      query(
        `insert into ${schema}.queue_message (queue, visible_at, id, type, key, headers, body)
         select id, clock_timestamp(), gen_random_uuid(), 'x', $1, '{}', ${body} from ${schema}.queue`,
        [key],
      )
    await add(`convert_to(${text(300 * MB)}, 'UTF8')`, 'k')
    await add(`'1'`, 'k')
    await add(`'2'`, null)
    const seen = new Set<string>()
    const consumption = await queue.consume({ queue: 'q', concurrency: 5 }, async ({ message }) => {
      await Promise.resolve()
      seen.add(Buffer.from(message.body).toString())
      return { kind: 'ack' }
    })
    while (seen.size < 2) await sleep(20)
    await consumption[Symbol.asyncDispose]()
    expect((await queue.deadLetters.list()).map(withheld)).toEqual([
      { type: 'x', reason: 'too-large', large: true, read: 0 },
    ])
    expect(await sizeOf(database, 'queue_dead')).toEqual([300 * MB])
  })
})
