import { postgresQueueMigrationSql } from '../../../src/postgres.ts'
import { partOf } from '../databases/database.ts'
import type { PostgresCells } from '../databases/postgres.ts'
import { straightQueues } from '../databases/postgres-tables.ts'
import { NOWHERE } from '../plan.ts'
import type { CellBroker, MessagesLeft, Names } from './broker.ts'

const nowhereOf = ({ queue }: Names): string => `${queue}.${NOWHERE}`

/** The queue in the database of the cells. */
export function postgresQueueCells({ pool }: PostgresCells): CellBroker {
  const count = async (sql: string): Promise<number> =>
    (await pool.query<{ n: number }>(sql)).rows[0]?.n ?? 0
  return {
    url: '',
    versions: {},
    async prepare({ schema, queue }, { migrated }) {
      await pool.query(
        migrated ? `delete from ${schema}.queue` : postgresQueueMigrationSql({ schema }),
      )
      await pool.query(straightQueues(schema, queue))
    },
    async putRight(names) {
      await pool.query(`insert into ${names.schema}.queue (name) values ($1)`, [nowhereOf(names)])
    },
    letters: ({ schema }) => count(`select count(distinct id)::int as n from ${schema}.queue_dead`),
    waiting: ({ schema, queue }) =>
      count(
        `select count(*)::int as n from ${schema}.queue_message m join ${schema}.queue q on q.id = m.queue where q.name = '${queue}'`,
      ),
    left: (names) => left(pool, names),
    // It goes with the schema.
    drop: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

async function left(pool: PostgresCells['pool'], names: Names): Promise<MessagesLeft> {
  const { schema: S, queue } = names
  const { rows } = await pool.query<{
    name: string
    id: string
    type: string
    body: Uint8Array
    token: string | null
  }>(
    `select q.name, m.id, m.type, m.body, m.token::text from ${S}.queue_message m join ${S}.queue q on q.id = m.queue order by m.position`,
  )
  const dead = await pool.query<{ body: Uint8Array }>(`select body from ${S}.queue_dead`)
  const log = rows.filter(({ name }) => name === 'log')
  const nowhere = rows.filter(({ name }) => name === nowhereOf(names))
  return {
    tap: log.map(({ id, type, body }) => ({ id, topic: type, ...partOf(body) })),
    nowhere: nowhere.map(({ body }) => partOf(body)),
    deadIncoming: dead.rows.map(({ body }) => partOf(body)),
    left: rows
      .filter(({ name, token }) => name === queue || token !== null)
      .map(({ name, id }) => `message ${id} in ${name}`),
  }
}
