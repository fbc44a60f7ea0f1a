import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { postgres } from '../../../src/postgres.ts'
import { migrate } from '../../../src/sql/postgres/migrate.ts'
import { own } from '../../../src/sql/postgres/pool/pool.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../postgres/database.ts'
import { type Held, held } from '../../postgres/held.ts'

/** Longer than an answer to anything else may take. */
const LONG_S = 16

/** As another node that migrates does. */
async function migrating(database: TestDatabase): Promise<Held> {
  const client = await database.newPool().connect()
  await client.query('begin')
  await client.query(`select pg_advisory_xact_lock(hashtext($1), 2000)`, [
    `mersal.${database.schema}`,
  ])
  return held(client)
}

describe.skipIf(!(await serverAnswers()))('migrations on PostgreSQL that take long', () => {
  test('a step is not cut off while it works, and another node waits for it', async () => {
    await using database = await testDatabase()
    const { schema } = database
    const step = {
      version: 1,
      name: 'slow',
      sql: `create table ${schema}.slow (); select pg_sleep(${LONG_S})`,
    }
    const tables = { name: 'postgres', place: '', schema, table: 'migration', steps: [step] }
    const nodes = [1, 2].map(() => migrate(own(database.newPool(), schema), tables, 'auto'))
    await Promise.all(nodes)
    expect(await database.query(`select version, name from ${schema}.migration`)).toEqual([
      { version: 1, name: 'slow' },
    ])
  })

  test('closing a store ends its waiting at once', async () => {
    await using database = await testDatabase()
    await using _other = await migrating(database)
    const store = postgres({
      pool: database.newPool(),
      schema: database.schema,
      logger: silentLogger,
    })
    const opening = store.open()
    const ended = expect(opening).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED' })
    const waiting = async (): Promise<unknown> =>
      (
        await database.query(
          `select 1 from pg_locks where locktype = 'advisory' and not granted and classid::bigint = hashtext($1)::bigint & 4294967295`,
          [`mersal.${database.schema}`],
        )
      ).length
    while ((await waiting()) === 0) await sleep(5)
    await store[Symbol.asyncDispose]()
    await ended
  })
})
