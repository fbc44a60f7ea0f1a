import { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/core/telemetry.ts'
import { command, Mersal } from '../../src/index.ts'
import { postgres, postgresQueue } from '../../src/postgres.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { pgliteSchema } from '../postgres/pglite.ts'
import { databaseQueueHarness } from './queue-in-database.ts'
import { transportSuite } from './transport-suite.ts'

let db: PGlite
beforeAll(async () => {
  db = await PGlite.create()
})
afterAll(() => db.close())

async function harness(): Promise<TransportHarness> {
  const database = await pgliteSchema(db)
  const { schema, pool } = database
  const expire = `update ${schema}.queue_message set visible_at = now() where token is not null`
  const settings = { pool, queuePool: pool, schema, maxMessageBytes: 2_000_000 }
  return databaseQueueHarness(database, expire, () =>
    postgresQueue({ ...settings, logger: silentLogger }),
  )
}

transportSuite('PostgreSQL queue on PGlite', harness)

describe('PostgreSQL queue on PGlite', () => {
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
