import { Pool } from 'pg'
import { describe, expect, test } from 'vitest'
import { command, type Logger, Mersal, silentLogger } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { postgres, type PostgresClient } from '../../../src/postgres.ts'
import { serverAnswers, type TestDatabase, testDatabase } from '../../postgres/database.ts'

const present = await serverAnswers()
const Count = command<{ readonly n: number }>('things.count')

interface Line {
  readonly fields: Record<string, unknown>
  readonly message: string
}

function notingLogger(): { readonly logger: Logger; readonly warnings: Line[] } {
  const warnings: Line[] = []
  const logger = {
    ...silentLogger,
    warn: (fields: object, message: string) =>
      void warnings.push({ fields: { ...fields }, message }),
  }
  return { logger, warnings }
}

function open(
  database: TestDatabase,
  pool: Pool,
  options: { readonly concurrency?: number; readonly logger: Logger; readonly timeoutMs?: number },
) {
  const { logger, concurrency, timeoutMs } = options
  return new Mersal<PostgresClient>({
    name: `counter-${database.schema}`,
    store: postgres({ pool, schema: database.schema, logger }),
    transport: memoryTransport(),
    logger,
    receive: {
      immediateRetries: 0,
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(timeoutMs === undefined ? {} : { handlerTimeoutMs: timeoutMs }),
    },
  })
}

describe.skipIf(!present)('handlers that ask the pool for a second connection', () => {
  for (const [what, max, concurrency] of [
    ['as large as the default concurrency', 10, undefined],
    ['of three connections and a concurrency of 50', 3, 50],
  ] as const) {
    test(`a pool ${what} never stands still`, async () => {
      await using database = await testDatabase()
      const pool = database.newPool({ max })
      const { logger, warnings } = notingLogger()
      await using app = open(database, pool, {
        logger,
        ...(concurrency === undefined ? {} : { concurrency }),
      })
      let most = 0
      let open_ = 0
      app.handle(Count, async ({ n }, { tx }) => {
        most = Math.max(most, ++open_)
        await tx.query('select 1')
        await pool.query(`insert into ${database.schema}.business values ($1)`, [String(n)])
        open_--
      })
      await app.start()
      await app.transaction(async (_tx, { sendLocal }) => {
        for (let n = 0; n < 100; n++) await sendLocal(Count, { n })
      })
      await expect
        .poll(
          async () =>
            (
              await database.query(`select count(*)::int as n from ${database.schema}.business`)
            )[0]?.['n'],
          {
            timeout: 25_000,
          },
        )
        .toBe(100)
      expect(most).toBeLessThanOrEqual(max - 2)
      const told = warnings.filter(({ message }) => message.includes('receive.concurrency'))
      if (concurrency === undefined) expect(told).toEqual([])
      else
        expect(told).toMatchObject([
          {
            fields: { concurrency: 50, connections: 3, handlers: 1 },
            message: expect.stringContaining('max: 52'),
          },
        ])
    })
  }

  test('a transaction that waits for itself is told so by the time limit of its handler and by whoever waits in vain', async () => {
    await using database = await testDatabase()
    const pool = database.newPool({ max: 1, connectionTimeoutMillis: 700 })
    const { logger, warnings } = notingLogger()
    await using app = open(database, pool, { logger, timeoutMs: 400 })
    app.handle(Count, async (_, { tx }) => {
      await tx.query('select 1')
      await pool.query('select 1')
    })
    await app.start()
    await app.direct.sendLocal(Count, { n: 1 })
    await expect
      .poll(() => warnings.map(({ fields }) => fields['code']), { timeout: 10_000 })
      .toContain('MERSAL_HANDLER_TIMEOUT')
    const late = warnings.find(({ fields }) => fields['code'] === 'MERSAL_HANDLER_TIMEOUT')
    expect(JSON.stringify(late?.fields)).toContain(
      'All 1 connections of the pool are held by transactions of the app, and 1 more',
    )

    const began = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const holding = app.transaction(async (tx) => {
      await tx.query('select 1')
      began.resolve()
      await goOn.promise
    })
    await began.promise
    await expect(app.transaction((tx) => tx.query('select 1'))).rejects.toMatchObject({
      code: 'MERSAL_STORE_BUSY',
      message: expect.stringContaining('the pool gave no connection'),
    })
    goOn.resolve()
    await holding
  })

  test('deliveries that wait for their turn are given back when the app is stopped by force', async () => {
    await using database = await testDatabase()
    const pool = database.newPool({ max: 3 })
    const { logger } = notingLogger()
    const app = open(database, pool, { logger, concurrency: 5 })
    const began = Promise.withResolvers<void>()
    let handled = 0
    app.handle(Count, async (_, { signal }) => {
      handled++
      began.resolve()
      await new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error)),
      )
    })
    await app.start()
    for (let n = 0; n < 5; n++) await app.direct.sendLocal(Count, { n })
    await began.promise
    await expect(app.stop({ graceMs: 100 })).rejects.toMatchObject({ code: 'MERSAL_STOP_TIMEOUT' })
    expect(handled).toBe(1)
  })
})
