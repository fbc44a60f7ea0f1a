import { Pool } from 'pg'
import { privateCluster } from '../../../scripts/servers/postgres.ts'
import { postgresMigrationSql } from '../../../src/postgres.ts'
import { committed, type Part } from '../plan.ts'
import { type CellDatabase, partOf, type Progress, type TablesLeft } from './database.ts'
import { oldRows, ownTables, progress } from './postgres-tables.ts'

/** A PostgreSQL of its own; each cell has a schema of it. */
export interface PostgresCells extends CellDatabase {
  readonly pool: Pool
}

export async function openPostgresCells(): Promise<PostgresCells> {
  const stack = new AsyncDisposableStack()
  const cluster = stack.use(
    await privateCluster({
      track_commit_timestamp: 'on',
      max_connections: '200',
      synchronous_commit: 'on',
      wal_level: 'logical',
      max_replication_slots: '20',
      max_wal_senders: '20',
    }),
  )
  const pool = new Pool({ connectionString: cluster.url, max: 6, application_name: 'harness' })
  stack.defer(() => pool.end())
  const { rows } = await pool.query<{ server_version: string }>('show server_version')
  return {
    pool,
    versions: { PostgreSQL: rows[0]?.server_version.split(' ')[0] ?? '?' },
    address(_, process) {
      const url = new URL(cluster.url)
      url.searchParams.set('application_name', process)
      return url.href
    },
    // The migration makes the schema.
    create: () => Promise.resolve(),
    async prepare(schema, { migrated, kept }) {
      const sql = [
        ...(migrated ? [] : [postgresMigrationSql({ schema })]),
        ownTables(schema),
        oldRows(schema),
        ...(kept ? [] : [`delete from ${schema}.sent`]),
      ]
      for (const text of sql) await pool.query(text)
    },
    async halfDone(schema) {
      const found = await pool.query<{ tables: number }>(
        `select count(*)::int as tables from pg_tables where schemaname = $1 and tablename in ('outbox', 'inbox', 'sent', 'dead', 'pause', 'migration')`,
        [schema],
      )
      const tables = found.rows[0]?.tables ?? 0
      return tables === 0 || tables === 6
        ? undefined
        : `a migration that was killed left ${tables} of 6 tables`
    },
    async progress(schema) {
      const found = await pool.query<Progress>(progress(schema), [committed])
      return found.rows[0] as Progress
    },
    async followed(schema) {
      const { rows } = await pool.query(
        'select from pg_replication_slots where starts_with(slot_name, $1) and active and confirmed_flush_lsn is not null',
        [`${schema}_log_`],
      )
      return rows.length > 0
    },
    async putRight(schema) {
      await pool.query(`insert into ${schema}.put_right values (true)`)
    },
    left: (schema, consumer) => left(pool, schema, consumer),
    async drop(schema) {
      await pool.query(`drop schema if exists ${schema} cascade`)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

async function left(pool: Pool, S: string, consumer: string): Promise<TablesLeft> {
  const rows = async <Row extends object>(sql: string): Promise<Row[]> =>
    (await pool.query<Row>(sql)).rows
  const students = await rows<{ number: number }>(
    `select number from ${S}.students order by pg_xact_commit_timestamp(xmin)`,
  )
  const inbox = await rows<{ id: string }>(
    `select message_id as id from ${S}.inbox where consumer = '${consumer}'`,
  )
  const dead = await rows<{ body: Uint8Array }>(`select body from ${S}.dead`)
  const open = await rows<{ text: string }>(
    `select format('outbox %s of %s, token %s', position, type, token) as text from ${S}.outbox`,
  )
  return {
    students: students.map(({ number }) => number),
    effects: await rows<Part & { message: string }>(
      `select number, part, message from ${S}.effects order by place`,
    ),
    inbox: inbox.map(({ id }) => id),
    deadOutgoing: dead.map(({ body }) => partOf(body)),
    takes: await rows<TablesLeft['takes'][number]>(
      `select id, owner, former::text, token::text from ${S}.takes order by place`,
    ),
    open: open.map(({ text }) => text),
  }
}
