import { setTimeout as sleep } from 'node:timers/promises'
import type { Store } from '../../src/core/store.ts'
import { mysql, type MysqlConnection, type MysqlOptions } from '../../src/mysql.ts'
import type { RetentionHarness } from '../../src/testing/index.ts'
import { testDatabase, type TestDatabase } from './server.ts'

export interface StoreHarness extends RetentionHarness<MysqlConnection> {
  readonly database: TestDatabase
  open(options?: Partial<MysqlOptions>): Promise<Store<MysqlConnection>>
}

/** Opens stores on one database, each with a pool of its own. */
export async function storeHarness(
  place: Promise<TestDatabase> = testDatabase(),
): Promise<StoreHarness> {
  const database = await place
  const open = async (options: Partial<MysqlOptions> = {}): Promise<Store<MysqlConnection>> => {
    const store = mysql({ pool: database.newPool(), ...options })
    await store.open()
    return store
  }
  return {
    database,
    open,
    openKeeping: (keepSentMs) => open({ keepSentMs }),
    write: async (tx, text) => {
      await tx.execute('insert into business values (?)', [text])
    },
    read: async () =>
      (await database.query('select text from business')).map((row) => String(row['text'])),
    elapse: (ms) => sleep(ms),
    strangers: [database.pool, 'a text', 1, null],
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}
