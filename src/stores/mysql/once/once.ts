import type { OnceClaimed, OnceKey, OnceStore } from '../../../core/records/once.ts'
import { bytesOf, textOf, textOrNull } from '../../../sql/mysql/bytes.ts'
import { errorNumber, explain } from '../../../sql/mysql/failure.ts'
import { migrate, type MysqlTables, mysqlSchemaControl } from '../../../sql/mysql/migrate.ts'
import { type Tables, tablesIn } from '../../../sql/mysql/names.ts'
import type { Own } from '../../../sql/mysql/own.ts'
import { NOW_MS } from '../../../sql/mysql/server.ts'
import type { MigrateMode } from '../../../sql/shared/migrations.ts'
import { onceEnded, valuesOfOnce } from '../../../sql/shared/once-rows.ts'
import type { Place } from '../place.ts'
import type { Lane } from '../save.ts'

export interface OncePorts<Tx> {
  readonly place: Place
  readonly migrate: MigrateMode
  readonly own: Own
  readonly laneOf: (tx: Tx) => Lane
  /** Transactions may be above READ COMMITTED. */
  readonly locksGaps: boolean
}

const once = ({ once: table }: Tables): string => `
create table if not exists ${table} (
  app varbinary(255) not null,
  scope varbinary(255) not null,
  once_key varbinary(255) not null,
  fingerprint varbinary(64) not null,
  response longblob null, -- JSON
  created_at bigint not null, -- milliseconds since the Unix epoch
  expires_at bigint not null,
  primary key (app, scope, once_key),
  key expires_at (expires_at)
) engine = InnoDB row_format = dynamic`

export function onceTables(database: string): MysqlTables {
  const steps = [{ version: 1, name: 'once', statements: [once(tablesIn(database))] }]
  return { name: 'mysql once', place: `in database '${database}'`, database, steps }
}

const mine = 'app = ? and scope = ? and once_key = ?'

function statements({ tables: { once: table }, server }: Place) {
  const read = `select fingerprint, response from ${table} where ${mine}`
  return {
    read,
    lock: server.failsAtOnce === undefined ? `${read} for update nowait` : undefined,
    claim: `${server.failsAtOnce ?? ''} insert into ${table} (app, scope, once_key, fingerprint, created_at, expires_at)
      values (?, ?, ?, ?, ${NOW_MS}, ${NOW_MS} + ?)`,
    keep: `update ${table} set response = ? where ${mine} and ${server.inTransaction}`,
    kept: `select once_key from ${table} where ${mine} and response is not null`,
    prune: `delete from ${table} where expires_at < ${NOW_MS} - ? order by expires_at limit ?`,
  } as const
}

/**
 * Deadlock; wait for a lock, of MariaDB and of MySQL; a row with this key is there; it came after
 * the snapshot of the transaction.
 */
const TAKEN = new Set([1213, 1205, 3572, 1062, 1020])

/**
 * The row is read without a lock, then inserted without waiting: a lock for a row that is not there
 * is one of the gap between two others, above READ COMMITTED, and would hold up other keys. Whatever
 * fails because of another transaction may have rolled this one back, so that no statement follows.
 */
export function mysqlOnce<Tx>(ports: OncePorts<Tx>): OnceStore<Tx> {
  const { place, own, laneOf } = ports
  const tables = onceTables(place.database)
  type Rows = readonly Readonly<Record<string, unknown>>[]
  const run = async (tx: Tx, text: string, values: readonly unknown[]): Promise<Rows> => {
    try {
      return (await laneOf(tx).run(text, values, { often: true })).rows
    } catch (error) {
      throw explain(place.database, error)
    }
  }
  const take = async (tx: Tx, key: OnceKey, values: readonly unknown[]): Promise<OnceClaimed> => {
    const sql = statements(place)
    const [row] = await run(tx, sql.read, bytesOfKey(key))
    if (row !== undefined) return keptIn(row)
    if (sql.lock !== undefined && !ports.locksGaps) await run(tx, sql.lock, bytesOfKey(key))
    await run(tx, sql.claim, [...bytesOfKey(key), ...values])
    return { kind: 'first' }
  }
  return {
    schema: mysqlSchemaControl(own, tables),
    open: () => migrate(own, tables, ports.migrate),
    async claim(tx, key, { fingerprint, keepMs }) {
      try {
        return await take(tx, key, [bytesOf(fingerprint), keepMs])
      } catch (error) {
        if (TAKEN.has(errorNumber(error) ?? 0)) return { kind: 'running' }
        throw error
      }
    },
    async keep(tx, key, response) {
      const sql = statements(place)
      await run(tx, sql.keep, [bytesOf(response), ...bytesOfKey(key)])
      const kept = await run(tx, sql.kept, bytesOfKey(key))
      if (kept.length !== 1) throw onceEnded('mysql')
    },
    async prune({ limit, longerMs = 0 }) {
      const values = [Math.ceil(longerMs), limit]
      return (await own.run('pruning answers of requests', statements(place).prune, values)).changed
    },
  }
}

const bytesOfKey = (key: OnceKey): Buffer[] => valuesOfOnce(key).map(bytesOf)

function keptIn(row: Readonly<Record<string, unknown>>): OnceClaimed {
  return {
    kind: 'kept',
    fingerprint: textOf(row['fingerprint']),
    response: textOrNull(row['response']) ?? undefined,
  }
}
