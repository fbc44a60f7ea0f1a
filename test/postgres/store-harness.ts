import { setTimeout as sleep } from 'node:timers/promises'
import {
  postgres,
  type PostgresClient,
  type PostgresOptions,
  type PostgresStore,
} from '../../src/postgres.ts'
import type { RetentionHarness } from '../../src/testing/index.ts'
import { testDatabase, type TestDatabase } from './database.ts'

export interface StoreHarness extends RetentionHarness<PostgresClient> {
  readonly database: TestDatabase
  open(options?: Partial<PostgresOptions>): Promise<PostgresStore<PostgresClient>>
}

/** Opens stores on one schema, each with a pool of its own. */
export async function storeHarness(
  place: Promise<TestDatabase> = testDatabase(),
): Promise<StoreHarness> {
  const database = await place
  const { schema } = database
  const open = async (
    options: Partial<PostgresOptions> = {},
  ): Promise<PostgresStore<PostgresClient>> => {
    const store = postgres({ pool: database.newPool(), schema, ...options })
    await store.open()
    return store
  }
  return {
    database,
    open,
    openKeeping: (keepSentMs) => open({ keepSentMs }),
    write: async (tx, text) => {
      await tx.query(`insert into ${schema}.business values ($1)`, [text])
    },
    read: async () =>
      (await database.query(`select text from ${schema}.business`)).map((row) =>
        String(row['text']),
      ),
    elapse: (ms) => sleep(ms),
    strangers: [database.pool, 'a text', 1, null],
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}
