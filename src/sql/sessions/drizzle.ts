import type { Session } from '../session.ts'
import { lendDrizzle } from './lent/drizzle.ts'
import {
  checkLibrary,
  hasMethod,
  notATransaction,
  rowsOf,
  splitPlaceholders,
  units,
} from './handles.ts'
import { whileHeld } from './postgres-js-hold.ts'

/** The part of a Drizzle transaction on PostgreSQL that is used. The root has no `rollback`. */
export interface DrizzleTransaction {
  execute(query: never): PromiseLike<unknown>
  rollback(): never
}

/** The `sql` of the drizzle-orm that made the database, so that its objects are recognised. */
export interface DrizzleSql {
  raw(text: string): unknown
  param(value: unknown): unknown
  join(parts: never): unknown
}

/**
 * Transactions of Drizzle 0.45 and 1.0 with any of its drivers for PostgreSQL:
 * `postgres({ pool, session: drizzle(db, { sql }) })` with `import { sql } from 'drizzle-orm'`.
 */
export function drizzle<Tx extends DrizzleTransaction>(
  db: { transaction<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> },
  options: { readonly sql: DrizzleSql },
): Session<Tx> {
  checkLibrary('drizzle()', db, ['transaction'], 'the database of Drizzle')
  const { sql } = Object(options) as typeof options
  checkLibrary('drizzle().sql', sql, ['raw', 'param', 'join'], "{ sql } of 'drizzle-orm'")
  const executor: Session<Tx>['executor'] = (tx) => {
    if (!hasMethod(tx, 'rollback') || !hasMethod(tx, 'execute')) {
      throw notATransaction(
        'drizzle',
        'give the `tx` that db.transaction() passes to its callback, while its transaction is open',
      )
    }
    return {
      async query(text, values = []) {
        const split = splitPlaceholders(text, values)
        const parts = split.texts.flatMap((part, index) =>
          index < split.values.length
            ? [sql.raw(part), sql.param(split.values[index])]
            : [sql.raw(part)],
        )
        return { rows: rowsOf(await tx.execute(sql.join(parts as never) as never)) }
      },
    }
  }
  return {
    name: 'drizzle',
    executor,
    lateExecutor: (tx) => whileHeld('drizzle', driverOf(tx), executor(tx)),
    cutsAtNumbers: true,
    ...units('drizzle', executor, (work) => db.transaction(work), lendDrizzle),
  }
}

/** What Drizzle works with inside this transaction. That of postgres.js is a function. */
const driverOf = (tx: unknown): unknown =>
  (tx as { readonly session?: { readonly client?: unknown } }).session?.client
