import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import { command, Mersal } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { postgres, type PostgresClient } from '../../../src/postgres.ts'
import { serverAnswers, testDatabase } from '../../postgres/database.ts'

const Slow = command<{ n: number }>('orders.slow')

describe.skipIf(!(await serverAnswers()))('a unit of an app on PostgreSQL', () => {
  test('of a handler whose time is up writes nothing more through its client, in no transaction of anyone', async () => {
    await using database = await testDatabase()
    const { schema } = database
    const pool = database.newPool({ max: 1 })
    const store = postgres({ pool, schema, relayPool: database.newPool() })
    const resume = Promise.withResolvers<void>()
    const late = Promise.withResolvers<Error | undefined>()
    await using app = new Mersal({
      name: 'shop',
      store,
      transport: memoryTransport(),
      receive: { handlerTimeoutMs: 500, immediateRetries: 0, maxDeliveries: 1 },
      logger: false,
    })
    const write = (tx: PostgresClient, text: string) =>
      tx.query(`insert into ${schema}.business values ($1)`, [text])
    app.handle(Slow, async (_body, { tx }) => {
      await write(tx, 'in time')
      await resume.promise
      await write(tx, 'too late').then(
        () => late.resolve(undefined),
        (error: Error) => late.resolve(error),
      )
    })
    await app.start()
    const timedOut = Promise.withResolvers<void>()
    pool.on('remove', () => timedOut.resolve())
    await app.transaction((_tx, { sendLocal }) => sendLocal(Slow, { n: 1 }))
    await timedOut.promise
    await app.transaction(async (tx) => {
      await write(tx, 'the next one')
      resume.resolve()
      assert.ok((await late.promise) instanceof Error, 'the late write is refused')
    })
    assert.deepEqual(await database.query(`select text from ${schema}.business`), [
      { text: 'the next one' },
    ])
  })

  test('a unit of an app is run again after a serialization failure when the store was asked to', async () => {
    await using database = await testDatabase()
    const { schema } = database
    const store = postgres({
      pool: database.pool,
      schema,
      isolation: 'repeatable read',
      retrySerialization: 1,
    })
    await using app = new Mersal({
      name: 'shop',
      store,
      transport: memoryTransport(),
      outbox: { runRelay: false },
      logger: false,
    })
    await app.start()
    await database.query(`insert into ${schema}.business values ('before')`)
    let runs = 0
    await app.transaction(async (tx, { sendLocal }) => {
      runs++
      await sendLocal(Slow, { n: runs })
      await tx.query(`select * from ${schema}.business`)
      if (runs === 1) await database.query(`update ${schema}.business set text = 'meanwhile'`)
      await tx.query(`update ${schema}.business set text = 'after'`)
    })
    assert.equal(runs, 2)
    const rows = await database.query(
      `select convert_from(body, 'UTF8') as body from ${schema}.outbox`,
    )
    assert.deepEqual(rows, [{ body: '{"n":2}' }])
  })
})
