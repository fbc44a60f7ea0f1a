import { createRequire } from 'node:module'
import type { ControlledTransaction } from 'kysely'
import { expect, test } from 'vitest'
import { guardSavepoints } from '../../../../src/sql/sessions/lent/kysely-savepoints.ts'

interface Tables {
  business: { text: string }
}
type Transaction = ControlledTransaction<Tables, string[]>

// The version of MikroORM, whose savepoints do not know of the end of their transaction.
const place = createRequire(import.meta.resolve('@mikro-orm/sql')).resolve('kysely')
const { CamelCasePlugin, DummyDriver, Kysely, PostgresAdapter, PostgresQueryCompiler } =
  (await import(place)) as typeof import('kysely')

const db = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: () => expect.unreachable(),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})

const insert = (tx: Transaction): Promise<unknown> =>
  tx.insertInto('business').values({ text: 'late' }).execute()

test.each<[string, (tx: Transaction) => Promise<Transaction>]>([
  ['a savepoint', async (tx) => tx.savepoint('a').execute()],
  ['one inside of it', async (tx) => (await tx.savepoint('a').execute()).savepoint('b').execute()],
  [
    'what a rollback to one makes',
    async (tx) => {
      const inner = await tx.savepoint('a').execute()
      return inner.rollbackToSavepoint('a').execute()
    },
  ],
  [
    'what the release of one makes',
    async (tx) => {
      const inner = await tx.savepoint('a').execute()
      return inner.releaseSavepoint('a').execute()
    },
  ],
  ['one with a schema', async (tx) => (await tx.savepoint('a').execute()).withSchema('shop')],
  ['one with types of its own', async (tx) => (await tx.savepoint('a').execute()).$extendTables()],
  ['the transaction with a schema', async (tx) => Promise.resolve(tx.withSchema('shop'))],
  [
    'the transaction with a plugin',
    async (tx) => Promise.resolve(tx.withPlugin(new CamelCasePlugin())),
  ],
  ['a savepoint of that', async (tx) => tx.withSchema('shop').savepoint('a').execute()],
  ['that without plugins', async (tx) => Promise.resolve(tx.withSchema('shop').withoutPlugins())],
])('P1: %s does nothing when the transaction is over', async (_, make) => {
  const outer = (await db.startTransaction().execute()) as Transaction
  let over = false
  guardSavepoints(outer, () => {
    if (over) throw new Error('over')
  })
  const tx = await make(outer)
  await insert(tx)
  await outer.commit().execute()
  over = true
  await expect(insert(tx)).rejects.toThrow('over')
  await expect(async () => tx.savepoint('c').execute()).rejects.toThrow('over')
  await expect(async () => tx.rollback().execute()).rejects.toThrow('over')
})
