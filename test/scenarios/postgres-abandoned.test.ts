import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import { command, Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { postgres, type PostgresClient } from '../../src/postgres.ts'
import { serverAnswers, testDatabase } from '../postgres/database.ts'

const Slow = command<{ n: number }>('orders.slow')

describe.skipIf(!(await serverAnswers()))('a handler whose time is up', () => {
  test('writes nothing more through its client, in no transaction of anyone', async () => {
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
    const write = (tx: PostgresClient, text: string) => tx.query(`insert into ${schema}.business values ($1)`, [text])
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
    assert.deepEqual(await database.query(`select text from ${schema}.business`), [{ text: 'the next one' }])
  })
})
