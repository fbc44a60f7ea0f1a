import type { Session } from '../session.ts'
import { lendPostgresJs } from './lent/postgres-js.ts'
import { checkLibrary, isFunction, notATransaction, rowsOf, unitOfWork } from './handles.ts'
import { whileHeld } from './postgres-js-hold.ts'

/** What `sql.begin` of postgres.js 3 hands to its callback. The root has no `savepoint`. */
export interface PostgresJsTransaction {
  // oxlint-disable-next-line typescript/no-explicit-any -- the library's own type of parameters is not exported in a form that a narrower one matches
  unsafe(text: string, values?: any[]): PromiseLike<readonly object[]>
  savepoint: unknown
}

/** Transactions of postgres.js 3: `postgres({ pool, session: postgresJs(sql) })`. */
export function postgresJs<Tx extends PostgresJsTransaction>(sql: {
  /** Of its forms, TypeScript looks at the last one. */
  begin(options: string, work: (tx: Tx) => unknown): Promise<unknown>
}): Session<Tx> {
  checkLibrary('postgresJs()', sql, ['begin'], 'the sql of postgres.js')
  const begin = sql.begin.bind(sql) as unknown as (
    work: (tx: Tx) => Promise<unknown>,
  ) => Promise<unknown>
  const executor: Session<Tx>['executor'] = (tx) => {
    if (!isFunction(tx) || !isFunction(tx.savepoint)) {
      throw notATransaction(
        'postgres.js',
        'give the `sql` that sql.begin() passes to its callback, while its transaction is open',
      )
    }
    return {
      query: async (text, values = []) => ({ rows: rowsOf(await tx.unsafe(text, [...values])) }),
    }
  }
  const open = async <Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> => {
    let result: Result | undefined
    // postgres.js changes what the callback returns if that is an array.
    await begin(async (tx) => {
      result = await work(tx)
    })
    return result as Result
  }
  return {
    name: 'postgres.js',
    executor,
    lateExecutor: (tx) => whileHeld('postgres.js', tx, executor(tx)),
    unitOfWork: unitOfWork('postgres.js', executor, open, lendPostgresJs),
  }
}
