import { createPool } from 'mysql2'
import type { PoolOptions } from 'mysql2/promise'
import { Kysely, MysqlDialect, type Transaction } from 'kysely'
import { describe, expect, test } from 'vitest'
import { mysql, type MysqlConnection } from '../../../src/mysql.ts'
import type { Settlement } from '../../../src/core/outbox.ts'
import type { Store } from '../../../src/core/store.ts'
import { ownOn } from '../../../src/sql/mysql/own.ts'
import { kysely } from '../../../src/sql/sessions/kysely.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../mysql/server.ts'
import { labelOf, message } from '../../postgres/messages.ts'

const present = await serverAnswers()

/** How a pool of `mysql2` may read and write values, and what that does to rows. */
const settings: readonly PoolOptions[] = [
  {},
  { typeCast: false },
  { typeCast: () => 'anything' },
  {
    typeCast: (field, next) =>
      field.type === 'VAR_STRING' ? field.buffer()?.toString('hex') : next(),
  },
  { dateStrings: true },
  { rowsAsArray: true },
  { nestTables: true },
  { nestTables: '_' },
  { namedPlaceholders: true },
  { supportBigNumbers: true, bigNumberStrings: true },
  { decimalNumbers: true },
  { timezone: '+05:30' },
  { charset: 'latin1_swedish_ci' },
  { charset: 'sjis_japanese_ci' },
  { multipleStatements: true },
  { jsonStrings: true },
  { stringifyObjects: true },
  { disableEval: true, typeCast: () => 'anything' },
  { resetOnRelease: true },
  { maxPreparedStatements: 1 },
  { flags: ['-FOUND_ROWS'] },
  { compress: true },
]

const headers = { note: `ключ "'\\ é` }
const keyed = (label: string, key: string): ReturnType<typeof message> => ({
  ...message(label, key),
  headers,
})
const key = 'Kläve "\'\\%'

/** Every road of a store, once: writers, inbox, claims, settlements, tools of operators. */
async function allRoads<Tx>(
  store: Store<Tx>,
  within: (use: (tx: Tx) => Promise<void>) => Promise<void>,
): Promise<void> {
  const { outbox, tracker, admin, operations } = store
  await store.open()
  await store.open()
  await store.unitOfWork(async (tx) => {
    expect(await tracker.track(tx, { consumer: 'c', messageId: 'é1' })).toBe('first')
    expect(await tracker.track(tx, { consumer: 'c', messageId: 'é1' })).toBe('duplicate')
    const ids = { consumer: 'c', messageIds: ['é2', 'é1', 'a3'] }
    expect(await tracker.many?.track(tx, ids)).toEqual(['first', 'duplicate', 'first'])
    await outbox.save(tx, [keyed('one', key), keyed('two', key), message('three')])
    const inner = await store.savepoints?.open(tx)
    await outbox.save(tx, [keyed('dropped', key)])
    await inner?.rollBack()
  })
  await within(async (tx) => {
    const both = [keyed('four', key), keyed('five', 'k')]
    const later = Promise.resolve([keyed('six', 'k')])
    const rows = await Promise.all([outbox.saveWithin?.(tx, both), outbox.saveWithin?.(tx, later)])
    expect(rows.flatMap((some) => some ?? []).map(({ kind }) => kind)).toEqual([
      'row',
      'row',
      'row',
    ])
  })
  await settleAll(store)
  expect(await operations?.pauses?.pause({ kind: 'key', name: key }, 'é')).toBe(true)
  expect(await operations?.pauses?.pause({ kind: 'key', name: key }, 'é!')).toBe(false)
  expect(await operations?.pauses?.list()).toMatchObject([{ kind: 'key', name: key, reason: 'é!' }])
  expect(await operations?.pauses?.resume({ kind: 'key', name: key })).toBe(true)
  const [letter] = await admin.deadLetters.list()
  expect(letter).toMatchObject({
    headers,
    partitionKey: 'k',
    error: 'Error: é',
    attempts: 1,
    blocksKey: true,
  })
  expect(Math.abs(Number(letter?.diedAt) - Date.now())).toBeLessThan(60_000)
  expect(await operations?.overview?.({ keys: 5 })).toMatchObject({
    pending: 2,
    dead: 1,
    kept: 3,
    added: 7,
    keys: [{ key: 'k', pending: 1, blocked: true }, { key }],
  })
  expect(await admin.deadLetters.retry([letter?.key ?? ''])).toBe(1)
  expect(await operations?.kept?.count({ partitionKey: key })).toBe(2)
  expect(await operations?.kept?.replay({ partitionKey: key }, { limit: 9, newIds: true })).toBe(2)
  expect(await admin.stats()).toMatchObject({ pending: 5, claimed: 0, dead: 0 })
  const version = await operations?.schema?.version()
  expect(version).toMatchObject({ current: version?.newest })
  expect(await operations?.consumers?.({ limit: 9 })).toEqual(['c'])
  for (const finding of (await operations?.examine?.()) ?? [])
    expect(finding.level).not.toBe('fault')
  expect(Math.abs(Number(await tracker.now?.()) - Date.now())).toBeLessThan(60_000)
  expect(Math.abs(Number((await outbox.clock?.read())?.now) - Date.now())).toBeLessThan(60_000)
  await outbox.clock?.recover({ backMs: 0, claimMs: 1, retryMs: 1 })
  expect(await tracker.prune({ olderThanMs: 60_000, limit: 9 })).toBe(0)
  await store.probe?.({ signal: new AbortController().signal })
}

/** Two are confirmed, one of key `k` is dead, one is tried again later. */
async function settleAll<Tx>({ outbox }: Store<Tx>): Promise<void> {
  const rows = await outbox.claim({ limit: 100, claimMs: 600_000, token: crypto.randomUUID() })
  expect(rows.map(labelOf)).toEqual(['one', 'two', 'three', 'four', 'five', 'six'])
  expect(rows.map(({ message: { partitionKey } }) => partitionKey)).toEqual([
    key,
    key,
    undefined,
    key,
    'k',
    'k',
  ])
  expect(rows.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1, 1])
  for (const { message: one } of rows) {
    if (one.partitionKey !== undefined) expect(one.headers).toEqual(headers)
    expect(JSON.parse(new TextDecoder().decode(one.body))).toHaveProperty('label')
  }
  await outbox.renew?.(rows, { claimMs: 60_000 })
  const error = new Error('é')
  const fates = {
    four: { kind: 'retry', delayMs: 0, error },
    five: { kind: 'dead', reason: 'unroutable', error, onDead: 'block-key', maybePublished: false },
    six: { kind: 'release' },
  } as const
  const settlements = rows.map((row): Settlement => {
    const { position, token } = row
    const fate = fates[labelOf(row) as keyof typeof fates] ?? { kind: 'sent' as const }
    return { position, token, ...fate }
  })
  const strange = { ...settlements[0], token: crypto.randomUUID() } as Settlement
  expect(await outbox.settle([...settlements, strange])).toEqual({ stale: 1 })
}

const shown = (options: PoolOptions): string =>
  Object.entries(options)
    .map(
      ([name, value]) => `${name}: ${typeof value === 'function' ? 'a function' : String(value)}`,
    )
    .join(', ') || 'none'

const cases = settings.map((options) => [shown(options), options] as const)

/** As an application does it with a connection of its own. */
async function ownTransaction(
  pool: TestDatabase['pool'],
  use: (tx: MysqlConnection) => Promise<void>,
): Promise<void> {
  const connection = await pool.getConnection()
  await connection.beginTransaction()
  await use(connection)
  await connection.commit()
  connection.release()
}

describe.skipIf(!present)('settings of a pool of mysql2', () => {
  test.each(cases)('change nothing of what the store reads and writes: %s', async (_, options) => {
    await using database = await testDatabase()
    const pool = database.newPool(options)
    const relayPool = database.newPool(options)
    await using store = mysql({ pool, relayPool, keepSentMs: 60_000 })
    await allRoads(store, (use) => ownTransaction(pool, use))
  })

  test.each(cases)(
    'do not come along into the connections of the relay: %s',
    async (_, options) => {
      await using database = await testDatabase()
      const pool = database.newPool(options)
      await using store = mysql({ pool, keepSentMs: 60_000 })
      await allRoads(store, (use) => ownTransaction(pool, use))
    },
  )

  test('a format of the application for values changes no statement of the store', async () => {
    await using database = await testDatabase()
    const queryFormat: NonNullable<PoolOptions['queryFormat']> = (text, values) => {
      if (values !== undefined && (values as unknown[]).length > 0) throw new Error('not ours')
      return text
    }
    const pool = database.newPool({ queryFormat })
    await using store = mysql({ pool, keepSentMs: 60_000 })
    await allRoads(store, (use) => ownTransaction(pool, use))
    expect(() => mysql({ pool, relayPool: pool })).toThrow(/mysql.relayPool.*queryFormat/)
  })

  test('a pool that resets its connections takes no setting of the relay back', async () => {
    await using database = await testDatabase()
    const own = ownOn(database.newPool({ resetOnRelease: true, connectionLimit: 1 }), database.name)
    for (let turn = 0; turn < 3; turn++) {
      const { rows } = await own.run('asking', 'select @@tx_isolation as isolation')
      expect(rows).toEqual([{ isolation: 'READ-COMMITTED' }])
    }
  })

  test('P1: a procedure that commits is noticed whatever rows look like', async () => {
    await using database = await testDatabase()
    await database.query('create procedure ends() begin commit; start transaction; end')
    for (const options of [{ rowsAsArray: true }, { nestTables: true }, { typeCast: () => 'x' }]) {
      await using store = mysql({ pool: database.newPool(options) })
      const unit = store.unitOfWork((tx) => tx.query('call ends()'))
      await expect(unit).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_ENDED' })
    }
  })
})

interface Tables {
  business: { text: string }
}
type KyselyTx = Transaction<Tables>

describe.skipIf(!present)('settings of a pool of a library', () => {
  const readable = cases.filter(([, { rowsAsArray, nestTables, typeCast }]) =>
    [rowsAsArray, nestTables, typeof typeCast === 'function'].every(
      (one) => one !== true && typeof one !== 'string',
    ),
  )
  const open = (url: string, options: PoolOptions): Kysely<Tables> =>
    new Kysely<Tables>({
      dialect: new MysqlDialect({ pool: createPool({ uri: url, ...options }) }),
    })

  test.each(readable)(
    'change nothing of what the store reads and writes: %s',
    async (_, options) => {
      await using database = await testDatabase()
      const db = open(database.url, options)
      await using store = mysql({
        pool: database.newPool(options),
        session: kysely<KyselyTx>(db),
        keepSentMs: 60_000,
      })
      await allRoads(store, (use) => db.transaction().execute(use))
      await db.destroy()
    },
  )

  const others = cases.filter((one) => !readable.includes(one))
  test.each(others)(
    'are refused before anything is written if no row can be read with them: %s',
    async (_, options) => {
      await using database = await testDatabase()
      const db = open(database.url, options)
      await using store = mysql({ pool: database.pool, session: kysely<KyselyTx>(db) })
      await store.open()
      const unreadable = {
        code: 'MERSAL_STORE_FAILED',
        message: expect.stringMatching(/rowsAsArray.*nestTables.*typeCast/),
      }
      const insert = (tx: KyselyTx): Promise<unknown> =>
        tx.insertInto('business').values({ text: 'one' }).execute()
      await expect(store.unitOfWork(insert)).rejects.toMatchObject(unreadable)
      const within = db.transaction().execute(async (tx) => {
        await store.outbox.saveWithin?.(tx, [message('one')])
      })
      await expect(within).rejects.toMatchObject(unreadable)
      expect(await database.query('select text from business')).toEqual([])
      expect(await database.query('select 1 from mersal_outbox')).toEqual([])
      await db.destroy()
    },
  )
})
