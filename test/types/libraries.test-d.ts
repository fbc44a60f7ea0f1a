// Checked by tsc alone (tsconfig.check.json): the table of docs/libraries.md, row by row, without
// type arguments.
import { PGlite, type Transaction as PgliteTransaction } from '@electric-sql/pglite'
import type { MikroORM } from '@mikro-orm/postgresql'
import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle as connectDrizzle } from 'drizzle-orm/node-postgres'
import type { Knex } from 'knex'
import type { Kysely, Transaction as KyselyTransaction } from 'kysely'
import type { Pool } from 'pg'
import type { Sql, TransactionSql } from 'postgres'
import { type Sequelize, type Transaction as SequelizeTransaction } from 'sequelize'
import type { DataSource, EntityManager } from 'typeorm'
import { command, Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { pglite } from '../../src/pglite.ts'
import { postgres, type PostgresClient, type PostgresStore } from '../../src/postgres.ts'
import { drizzle } from '../../src/sql/sessions/drizzle.ts'
import { knex } from '../../src/sql/sessions/knex.ts'
import { kysely } from '../../src/sql/sessions/kysely.ts'
import { mikroOrm } from '../../src/sql/sessions/mikro-orm.ts'
import { postgresJs } from '../../src/sql/sessions/postgres-js.ts'
import { prisma } from '../../src/sql/sessions/prisma.ts'
import { sequelize } from '../../src/sql/sessions/sequelize.ts'
import { typeorm } from '../../src/sql/sessions/typeorm.ts'
import type { Prisma, PrismaClient } from '../postgres/prisma/generated/client.ts'

// How TypeScript compares two types for identity.
type Equal<Left, Right> =
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
  (<T>() => T extends Left ? 1 : 2) extends <T>() => T extends Right ? 1 : 2 ? true : false
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the type is all there is to check
function assertType<_ extends true>(): void {}

interface Tables {
  students: { name: string }
}
declare const pool: Pool
declare const kyselyDb: Kysely<Tables>
declare const prismaClient: PrismaClient
declare const dataSource: DataSource
declare const orm: MikroORM
declare const knexDb: Knex
declare const instance: Sequelize
declare const sql: Sql
declare const pgliteDb: PGlite
const drizzleDb = connectDrizzle({ client: pool })
type DrizzleTransaction = Parameters<Parameters<typeof drizzleDb.transaction>[0]>[0]

const Welcome = command<{ name: string }>('mail.welcome')

/** An app on such a store, whose handlers get what the library itself would give them. */
function app<Tx>(store: PostgresStore<Tx>, work: (tx: Tx) => Promise<unknown>): Mersal<Tx> {
  const made = new Mersal({ name: 'school', store, transport: memoryTransport() })
  made.handle(Welcome, async (_body, { tx }) => void (await work(tx)))
  return made
}

const ofPg = app(postgres({ pool }), (tx) => tx.query('select 1'))
const ofKysely = app(postgres({ pool, session: kysely(kyselyDb) }), (tx) =>
  tx.selectFrom('students').selectAll().execute(),
)
const ofDrizzle = app(
  postgres({ pool, session: drizzle(drizzleDb, { sql: drizzleSql }) }),
  async (tx) => tx.execute(drizzleSql`select 1`),
)
const ofPrisma = app(postgres({ pool, session: prisma(prismaClient, { timeout: 10_000 }) }), (tx) =>
  tx.business.count(),
)
const ofTypeorm = app(postgres({ pool, session: typeorm(dataSource) }), (tx) => tx.save({}))
const ofMikroOrm = app(postgres({ pool, session: mikroOrm(orm.em) }), (tx) => tx.flush())
const ofKnex = app(postgres({ pool, session: knex(knexDb) }), async (tx) =>
  tx('students').insert({ name: 'Zoë' }),
)
const ofSequelize = app(postgres({ pool, session: sequelize(instance) }), (transaction) =>
  instance.query('select 1', { transaction }),
)
const ofPostgresJs = app(postgres({ pool, session: postgresJs(sql) }), async (tx) => tx`select 1`)
const ofPglite = app(postgres({ pool, session: pglite(pgliteDb) }), (tx) => tx.exec('select 1'))
assertType<Equal<typeof ofPg, Mersal<PostgresClient>>>()
assertType<Equal<typeof ofKysely, Mersal<KyselyTransaction<Tables>>>>()
assertType<Equal<typeof ofDrizzle, Mersal<DrizzleTransaction>>>()
assertType<Equal<typeof ofPrisma, Mersal<Prisma.TransactionClient>>>()
assertType<Equal<typeof ofTypeorm, Mersal<EntityManager>>>()
assertType<Equal<typeof ofMikroOrm, Mersal<ReturnType<typeof orm.em.fork>>>>()
assertType<Equal<typeof ofKnex, Mersal<Knex.Transaction>>>()
assertType<Equal<typeof ofSequelize, Mersal<SequelizeTransaction>>>()
assertType<Equal<typeof ofPostgresJs, Mersal<TransactionSql>>>()
assertType<Equal<typeof ofPglite, Mersal<PgliteTransaction>>>()

/** And the one line to add, in a transaction of the library. */
export async function join(): Promise<void> {
  const welcome = { name: 'Zoë' }
  await kyselyDb.transaction().execute((tx) => ofKysely.within(tx).send(Welcome, welcome))
  await drizzleDb.transaction((tx) => ofDrizzle.within(tx).send(Welcome, welcome))
  await prismaClient.$transaction((tx) => ofPrisma.within(tx).send(Welcome, welcome))
  await dataSource.transaction((tx) => ofTypeorm.within(tx).send(Welcome, welcome))
  await orm.em.fork().transactional((tx) => ofMikroOrm.within(tx).send(Welcome, welcome))
  await knexDb.transaction((tx) => ofKnex.within(tx).send(Welcome, welcome))
  await instance.transaction((tx) => ofSequelize.within(tx).send(Welcome, welcome))
  await sql.begin((tx) => ofPostgresJs.within(tx).send(Welcome, welcome))
  await pgliteDb.transaction((tx) => ofPglite.within(tx).send(Welcome, welcome))
}
