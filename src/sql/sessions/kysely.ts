import type { Session } from '../session.ts'
import { checkLibrary, notATransaction, rowsOf, units } from './handles.ts'
import { lendKysely } from './lent/kysely.ts'

/** The part of Kysely's `Transaction` that is used. */
export interface KyselyTransaction {
  readonly isTransaction: true
  withoutPlugins(): object
}

const ENDED = /^Transaction is already (committed|rolled back)$/

interface Queries {
  executeQuery(query: object): Promise<{ readonly rows: readonly unknown[] }>
}

/**
 * Transactions of Kysely 0.28 and 0.29: `postgres({ pool, session: kysely(db) })`. Controlled
 * transactions work in `within()` too.
 */
export function kysely<Tx extends KyselyTransaction>(db: {
  transaction(): { execute<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> }
}): Session<Tx> {
  checkLibrary('kysely()', db, ['transaction'], 'the instance of Kysely')
  const refused = (cause?: unknown): Error => {
    const error = notATransaction(
      'kysely',
      'give the `trx` of db.transaction().execute(), or of a controlled transaction that has not ended',
    )
    if (cause !== undefined) error.cause = cause
    return error
  }
  const executor: Session<Tx>['executor'] = (tx) => {
    const state = tx as
      | { isTransaction?: unknown; isCommitted?: unknown; isRolledBack?: unknown }
      | null
      | undefined
    if (state?.isTransaction !== true || state.isCommitted === true || state.isRolledBack === true)
      throw refused()
    // Plugins of the user, such as the one for camel case, would rename the columns of our rows.
    const queries = tx.withoutPlugins() as Queries
    return {
      async query(text, values = []) {
        try {
          return { rows: rowsOf(await queries.executeQuery(compiled(text, values))) }
        } catch (error) {
          // Whether `trx` has ended is told only by this error, before anything is sent.
          throw error instanceof Error && ENDED.test(error.message) ? refused(error) : error
        }
      },
    }
  }
  return {
    name: 'kysely',
    executor,
    ...units(
      'kysely',
      executor,
      (work) => db.transaction().execute(work),
      (tx, dialect) => lendKysely('kysely', tx, { dialect }),
    ),
  }
}

/** The same plain object that `CompiledQuery.raw` makes. */
function compiled(sql: string, parameters: readonly unknown[]): object {
  return {
    sql,
    parameters,
    query: { kind: 'RawNode', sqlFragments: [sql], parameters: [] },
    queryId: { queryId: 'mersal' },
  }
}
