import type { Pool, PoolConnection, RowDataPacket } from 'mysql2/promise'
import { mysql } from '../../src/mysql.ts'
import type { BenchRelay, OpenRelay, Sink } from '../relays/job.ts'
import { relayOf } from '../relays/mersal.ts'
import { openPool } from './tables.ts'

const BATCH = 500

interface Row {
  readonly id: number
  readonly body: Buffer
}

type Work = (connection: PoolConnection, sink: Sink) => Promise<void>

function floor(work: Work): OpenRelay {
  return async ({ database }, sink): Promise<BenchRelay> => {
    const pool = openPool(database, 1)
    const connection = await pool.getConnection()
    let working: Promise<void> = Promise.resolve()
    return {
      async start() {
        working = work(connection, sink)
      },
      drained: () => working,
      async [Symbol.asyncDispose]() {
        connection.release()
        await pool.end()
      },
    }
  }
}

const byId = (rows: readonly Row[]): readonly Row[] => [...rows].sort((a, b) => a.id - b.id)

/**
 * The least that can be done: one statement takes and deletes. What it has taken is lost with the
 * process.
 */
export const mysqlFloorDelete: OpenRelay = floor(async (connection, sink) => {
  for (;;) {
    const [rows] = await connection.query<RowDataPacket[]>(
      `delete from plain order by id limit ${BATCH} returning id, body`,
    )
    if (rows.length === 0) return
    await sink.publish(byId(rows as Row[]).map(({ body }) => body))
  }
})

/** Locks rows, publishes them, and deletes them in the same transaction once all are confirmed. */
export const mysqlFloorClaimed: OpenRelay = floor(async (connection, sink) => {
  for (let more = true; more; ) {
    await connection.query('start transaction')
    const [rows] = await connection.query<RowDataPacket[]>(
      `select id, body from plain order by id limit ${BATCH} for update skip locked`,
    )
    more = rows.length > 0
    if (more) {
      await sink.publish((rows as Row[]).map(({ body }) => body))
      await connection.query('delete from plain where id in (?)', [
        rows.map(({ id }) => id as number),
      ])
    }
    await connection.query('commit')
  }
})

/** The relay as `mersal relay` runs it. */
export const mysqlMersal: OpenRelay = async (job, sink) => {
  const pool = openPool(job.database, 4)
  const store = mysql({ pool, migrate: 'check' })
  return await relayOf({ job, sink }, store, {
    holdsRows: () => holdsRows(pool),
    close: () => pool.end(),
  })
}

async function holdsRows(pool: Pool): Promise<boolean> {
  const [rows] = await pool.query<RowDataPacket[]>('select 1 from mersal_outbox limit 1')
  return rows.length > 0
}
