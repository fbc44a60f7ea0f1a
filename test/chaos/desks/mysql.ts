import { createPool, type PoolConnection } from 'mysql2/promise'
import type { Logger } from '../../../src/index.ts'
import type { MysqlConnection } from '../../../src/mysql.ts'
import { systemClock } from '../../../src/lib/async/clock.ts'
import type { CrashPoint } from '../../../src/testing/crash-points.ts'
import { now } from '../history.ts'
import { inTransaction } from '../../mysql/transaction.ts'
import { CLAIM_MS, type MysqlAddress, type WorkerPlan } from '../plan.ts'
import type { SourceOfProcess } from '../source.ts'
import type { Desk, DeskRow } from './desk.ts'

/** Reaches the point when the server has executed a COMMIT and nobody has been told. */
function commitPoint(connection: object, reached: () => void): void {
  const { query } = connection as { query: (this: void, ...given: unknown[]) => unknown }
  const watched = function (this: unknown, ...given: unknown[]): unknown {
    const [text] = given
    const told = given.findIndex((one) => typeof one === 'function')
    if (!/^commit$/i.test(String(text)) || told < 0) return Reflect.apply(query, this, given)
    const tell = given[told] as (...answer: unknown[]) => void
    const later = (...answer: unknown[]): void => {
      if (answer[0] === null || answer[0] === undefined) reached()
      tell(...answer)
    }
    return Reflect.apply(query, this, given.with(told, later))
  }
  Object.assign(connection, { query: watched })
}

export async function openMysql(
  { adapter }: SourceOfProcess,
  plan: WorkerPlan & { readonly address: MysqlAddress },
  at: (point: CrashPoint) => void,
  logger: Logger,
): Promise<Desk<MysqlConnection>> {
  const [{ mysql }, { sqliteQueue }] = await Promise.all([adapter('mysql'), adapter('sqlite')])
  const { database, broker, epoch } = plan.address
  const address = new URL(database)
  address.username = plan.name
  const pool = createPool({
    uri: address.href,
    connectionLimit: 5,
    connectTimeout: 5000,
    // As docs/mysql.md advises: else each try to connect leaves half a MiB of garbage.
    maxPreparedStatements: 100,
  })
  pool.on('connection', (connection: PoolConnection) => {
    connection.on('error', () => {}) // the call that fails tells of it
    commitPoint(connection, () => at(plan.role === 'consumer' ? 'C6' : 'P5'))
  })
  const store = mysql({ pool, migrate: 'check', logger })
  const transport = sqliteQueue({
    path: broker,
    visibilityMs: CLAIM_MS,
    pollIntervalMs: 100,
    clock: { ...systemClock, now: () => epoch + now() },
    logger,
  })
  return {
    store,
    transport,
    async business(tx, rows) {
      for (const { id, topic, key, digest } of rows)
        await tx.execute(
          'insert into business (id, topic, partition_key, digest) values (?, ?, ?, ?)',
          [id, topic, key ?? null, digest],
        )
    },
    async effect(tx, id, digest) {
      await tx.execute('insert into effects (id, digest) values (?, ?)', [id, digest])
    },
    foreign: (work) => inTransaction(pool, 'commit', work),
    prefix: '',
    now: 'cast(unix_timestamp(now(6)) * 1000 as signed)',
    async run(tx, sql, ...values) {
      const [rows] = (await tx.query(sql, values)) as [unknown]
      return Array.isArray(rows) ? (rows as readonly DeskRow[]) : []
    },
    async ask(sql, ...values) {
      const [rows] = await pool.query(sql, values)
      return Array.isArray(rows) ? (rows as unknown as readonly DeskRow[]) : []
    },
    async [Symbol.asyncDispose]() {
      await pool.end()
    },
  }
}
