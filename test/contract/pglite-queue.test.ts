import { setTimeout as sleep } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/core/telemetry.ts'
import { command, Mersal } from '../../src/index.ts'
import { postgres, postgresQueue, type PostgresQueue } from '../../src/postgres.ts'
import { type TransportHarness, transportContract } from '../../src/testing/index.ts'
import { pgliteSchema } from '../postgres/pglite.ts'

let db: PGlite
beforeAll(async () => {
  db = await PGlite.create()
})
afterAll(() => db.close())

async function harness(): Promise<TransportHarness> {
  const database = await pgliteSchema(db)
  const { schema, pool } = database
  const queues: PostgresQueue[] = []
  const open = (): PostgresQueue => {
    const queue = postgresQueue({
      pool,
      queuePool: pool,
      schema,
      maxMessageBytes: 2_000_000,
      logger: silentLogger,
    })
    queues.push(queue)
    return queue
  }
  return {
    open: () => Promise.resolve(open()),
    orderPerKey: 'always',
    name: (label) => label,
    elapse: (ms) => sleep(ms),
    crash: async (transport) => {
      await transport[Symbol.asyncDispose]()
      await database.query(
        `update ${schema}.queue_message set visible_at = now() where token is not null`,
      )
    },
    deadLetters: () => open().deadLetters,
    [Symbol.asyncDispose]: async () => {
      for (const queue of queues) await queue[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

describe('PostgreSQL queue on PGlite', () => {
  for (const item of transportContract) {
    test(item.name, async () => {
      await using own = await harness()
      await item.run(own)
    })
  }

  test('with the store in the same PGlite, messages go straight into the queue', async () => {
    await using database = await pgliteSchema(db)
    const { pool, schema } = database
    const Work = command<{ n: number }>('test.work')
    const app = new Mersal({
      name: 'embedded',
      store: postgres({ pool, relayPool: pool, schema }),
      transport: postgresQueue({ pool, queuePool: pool, schema }),
      outbox: { runRelay: false },
    })
    const handled = Promise.withResolvers<number>()
    app.handle(Work, ({ n }) => handled.resolve(n))
    await app.start()
    await app.transaction((_tx, { sendLocal }) => sendLocal(Work, { n: 7 }))
    expect(await handled.promise).toBe(7)
    await app.stop()
  })
})
