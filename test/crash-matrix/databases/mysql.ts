import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise'
import { privateMariadb, type PrivateMariadb } from '../../../scripts/servers/mariadb.ts'
import { mysqlMigrationSql } from '../../../src/mysql.ts'
import { binaryLogSettings, committedRows } from '../../mysql/binary-log.ts'
import { committed, type Part } from '../plan.ts'
import { type CellDatabase, partOf, type Progress, type TablesLeft } from './database.ts'
import { oldRows, ownTables, progress } from './mysql-tables.ts'

const settings = [
  ...binaryLogSettings,
  '--innodb-flush-log-at-trx-commit=1',
  '--innodb-buffer-pool-size=64M',
  '--max-connections=200',
]

/** A MariaDB of its own; each cell has a database of it. */
export async function openMysqlCells(): Promise<CellDatabase> {
  const stack = new AsyncDisposableStack()
  const server = stack.use(await privateMariadb(settings))
  const pool = createPool({ uri: server.url, connectionLimit: 2, multipleStatements: true })
  stack.defer(() => pool.end())
  // Whoever logs in is let in by any name: so the processes have names.
  await pool.query(`create user ''@'127.0.0.1'; grant all on *.* to ''@'127.0.0.1'`)
  const [[version]] = await pool.query<RowDataPacket[]>('select version() as v')
  const inside = async <Result>(schema: string, work: (pool: Pool) => Promise<Result>) => {
    const own = createPool({
      uri: `${server.url}/${schema}`,
      connectionLimit: 1,
      multipleStatements: true,
    })
    try {
      return await work(own)
    } finally {
      await own.end()
    }
  }
  return {
    versions: { MariaDB: String(version?.['v']).split('-')[0] ?? '?' },
    address(schema, process) {
      const url = new URL(`${server.url}/${schema}`)
      url.username = process
      return url.href
    },
    async create(schema) {
      await pool.query(`create database ${schema} character set utf8mb4`)
    },
    async prepare(schema, { migrated, kept }) {
      await inside(schema, async (own) => {
        if (!migrated) await own.query(mysqlMigrationSql({ schema }))
        for (const text of [...ownTables, ...oldRows]) await own.query(text)
        if (!kept) await own.query('delete from mersal_sent')
      })
    },
    halfDone: (schema) => halfDone(pool, schema),
    async progress(schema) {
      const [rows] = await pool.query<RowDataPacket[]>(progress(schema), [committed])
      return rows[0] as Progress
    },
    followed: () => Promise.resolve(false),
    async putRight(schema) {
      await pool.query(`insert into ${schema}.put_right values (true)`)
    },
    left: (schema, consumer) =>
      inside(schema, (own) => left({ pool: own, server, schema }, consumer)),
    async drop(schema) {
      await pool.query(`drop database if exists ${schema}`)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Each statement of a migration is for good, so that only its record says that all are done. */
async function halfDone(pool: Pool, schema: string): Promise<string | undefined> {
  const [rows] = await pool.query<RowDataPacket[]>(
    'select table_name as name from information_schema.tables where table_schema = ?',
    [schema],
  )
  const tables = rows.map((row) => String(row['name']))
  if (!tables.includes('mersal_migration')) return undefined
  const [done] = await pool.query<RowDataPacket[]>(`select * from ${schema}.mersal_migration`)
  return done.length === 0 || tables.length === ALL_TABLES
    ? undefined
    : `a migration that was killed is recorded, with ${tables.length} of ${ALL_TABLES} tables`
}
const ALL_TABLES = 8

interface Left {
  readonly pool: Pool
  readonly server: PrivateMariadb
  readonly schema: string
}

async function left({ pool, server, schema }: Left, consumer: string): Promise<TablesLeft> {
  const rows = async <Row>(sql: string, ...values: unknown[]): Promise<Row[]> =>
    (await pool.query<RowDataPacket[]>(sql, values))[0] as Row[]
  const there = new Set(
    (await rows<{ number: number }>('select number from students')).map(({ number }) => number),
  )
  const added = (await committedRows(server.data, schema, ['students'])).flat()
  const students = added.map(({ values }) => Number(values.get(1)))
  // The log gives the order, the table says what is there.
  if (students.length !== there.size || students.some((number) => !there.has(number)))
    throw new Error(`the binary log has ${students.length} students, the table ${there.size}`)
  const inbox = await rows<{ id: Buffer }>(
    'select message_id as id from mersal_inbox where consumer = ?',
    Buffer.from(consumer),
  )
  const dead = await rows<{ body: Uint8Array }>('select body from mersal_dead')
  const open = await rows<{ text: Buffer }>(
    `select concat('outbox ', position, ' of ', type, ', token ', coalesce(token, 'none')) as text from mersal_outbox`,
  )
  return {
    students,
    effects: await rows<Part & { message: string }>(
      'select number, part, message from effects order by place',
    ),
    inbox: inbox.map(({ id }) => id.toString()),
    deadOutgoing: dead.map(({ body }) => partOf(body)),
    takes: await rows<TablesLeft['takes'][number]>(
      'select id, owner, former, token from takes order by place',
    ),
    open: open.map(({ text }) => text.toString()),
  }
}
