import { type SQL, sql } from 'drizzle-orm'
import { type NodePgDatabase, drizzle } from 'drizzle-orm/node-postgres'
import { Pool } from 'pg'
import { drizzle as drizzleSession } from '../../src/sql/sessions/drizzle.ts' // 'mersal/drizzle'
import { type PostgresStore, postgres } from '../../src/postgres.ts' // 'mersal/postgres'
import { required } from './environment.ts'

export type Tx = Parameters<Parameters<NodePgDatabase['transaction']>[0]>[0]

export interface Database {
  readonly db: NodePgDatabase
  /**
   * Where Mersal keeps its tables: in the same database, so that they take part in the same
   * transactions.
   */
  readonly store: PostgresStore<Tx>
  close(): Promise<void>
}

/** Connections to the database that DATABASE_URL names. */
export function openPool(): Pool {
  const pool = new Pool({ connectionString: required('DATABASE_URL') })
  // Without a listener, an idle connection that breaks would end the process.
  pool.on('error', (error) => process.stderr.write(`${error.message}\n`))
  return pool
}

/**
 * Opens the database of this service, and makes its tables if they are missing. In your program a
 * migration tool does that.
 */
export async function openDatabase(...tables: SQL[]): Promise<Database> {
  const pool = openPool()
  const db = drizzle({ client: pool })
  for (const table of tables) await db.execute(table)
  const store = postgres({ pool, session: drizzleSession<Tx>(db, { sql }) })
  return { db, store, close: () => pool.end() }
}
