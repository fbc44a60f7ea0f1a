import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { StoreOperations } from '../../src/core/operations.ts'
import type { Store } from '../../src/core/store.ts'
import { mysql } from '../../src/mysql.ts'
import { postgres } from '../../src/postgres.ts'
import { sqlite } from '../../src/sqlite.ts'
import { serverAnswers as mysqlAnswers, testDatabase as mysqlDatabase } from '../mysql/server.ts'
import { serverAnswers, testDatabase } from '../postgres/database.ts'

/** Messages that are delayed, and then some that nobody takes. */
const DELAYED = 150_000
const STUCK = 1000

interface Large extends AsyncDisposable {
  readonly store: Pick<Store<never>, 'open'> & { readonly operations?: StoreOperations }
}

/** Rows of the outbox as a writer in another language adds them. */
async function inPostgres(): Promise<Large> {
  const database = await testDatabase()
  const store = postgres({ pool: database.pool, schema: database.schema })
  await store.open()
  const add = (count: number, due: string): Promise<unknown> =>
    database.query(`insert into ${database.schema}.outbox (id, visible_at, added_at, type, transport, kind, name, headers, body)
      select gen_random_uuid(), ${due}, now() - interval '1 hour', 't', 'default', 'queue', 'q', '{}', 'x' from generate_series(1, ${count})`)
  await add(DELAYED, `now() + interval '1 hour'`)
  await add(STUCK, `now() - interval '10 minutes'`)
  await database.query(`analyze ${database.schema}.outbox`)
  return {
    store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

async function inMysql(): Promise<Large> {
  const database = await mysqlDatabase()
  const store = mysql({ pool: database.newPool() })
  await store.open()
  const add = (count: number, due: string): Promise<unknown> =>
    database.query(`insert into mersal_outbox (visible_at, added_at, id, type, transport, kind, name, headers, body)
      with recursive n(i) as (select 1 union all select i + 1 from n where i < 400)
      select ${due}, utc_timestamp(6) - interval 1 hour, uuid(), 't', 'default', 'queue', 'q', '{}', 'x' from n a, n b limit ${count}`)
  await add(DELAYED, 'utc_timestamp(6) + interval 1 hour')
  await add(STUCK, 'utc_timestamp(6) - interval 10 minute')
  await database.query('analyze table mersal_outbox')
  return {
    store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

async function inSqlite(): Promise<Large> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-large-'))
  const path = join(folder, 'store.db')
  const store = sqlite({ path })
  await store.open()
  const handle = new DatabaseSync(path)
  const add = (count: number, due: number): void =>
    handle.exec(`insert into mersal_outbox (visible_at, created_at, id, type, transport, kind, name, headers, body)
      with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count})
      select ${due}, ${Date.now() - 3_600_000}, 'id ' || i, 't', 'default', 'queue', 'q', '{}', x'01' from n`)
  add(DELAYED, Date.now() + 3_600_000)
  add(STUCK, Date.now() - 600_000)
  handle.close()
  return {
    store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const places = [
  ['PostgreSQL', await serverAnswers(), inPostgres],
  ['MariaDB', await mysqlAnswers(), inMysql],
  ['SQLite', true, inSqlite],
] as const

describe.each(places)('an outbox on %s that is too large to be counted', (_, here, open) => {
  test.skipIf(!here)(
    'is estimated, and traffic that stands still behind delayed messages is seen',
    async () => {
      await using large = await open()
      const found = await large.store.operations!.overview!({ keys: 10 })
      expect(found.rowsRead).toBe(100_000)
      // Statistics are good for the size of things.
      expect(found.pending).toBeGreaterThan(100_000)
      expect(found.pending).toBeLessThan(250_000)
      expect(found.due).toBe(STUCK)
      expect(found.waitingMs).toBeGreaterThanOrEqual(600_000)
      expect(found.destinations).toMatchObject([
        { destination: 'default/queue/q', pending: 100_001, due: STUCK },
      ])
    },
  )
})
