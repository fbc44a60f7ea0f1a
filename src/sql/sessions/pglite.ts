import type { Session } from '../session.ts'
import { type Lent, lendChecked, withoutForGood } from './lent/lent.ts'
import { checkLibrary, hasMethod, notATransaction, rowsOf, unitOfWork } from './handles.ts'

/** What `db.transaction` of PGlite hands to its callback. The root has no `rollback`. */
export interface PgliteTransaction {
  // oxlint-disable-next-line typescript/no-explicit-any -- the library's own type of parameters, which a narrower one would not match
  query(text: string, values?: any[]): Promise<{ readonly rows: unknown[] }>
  rollback(): Promise<void>
  readonly closed: boolean
}

/**
 * Transactions of PGlite 0.5. PGlite has one connection and no pool of `pg`, so the store needs
 * `pglitePool` as well: `postgres({ pool, relayPool: pool, session: pglite(db) })`.
 */
export function pglite<Tx extends PgliteTransaction>(db: {
  transaction<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>
}): Session<Tx> {
  checkLibrary('pglite()', db, ['transaction'], 'the database of PGlite')
  const executor: Session<Tx>['executor'] = (tx) => {
    if (!hasMethod(tx, 'query') || !hasMethod(tx, 'rollback') || tx.closed) {
      throw notATransaction(
        'pglite',
        'give the `tx` that db.transaction() passes to its callback, before it ends',
      )
    }
    return {
      query: async (text, values = []) => ({ rows: rowsOf(await tx.query(text, [...values])) }),
    }
  }
  const lend = (tx: Tx): Lent<Tx> => {
    // The library ends the transaction without this handle, which belongs to it alone.
    withoutForGood('pglite', tx, ['rollback'])
    const { revoke } = lendChecked('pglite', tx, { target: tx, names: ['query', 'exec', 'sql'] })
    return { tx, revoke }
  }
  return {
    name: 'pglite',
    executor,
    unitOfWork: unitOfWork('pglite', executor, (work) => db.transaction(work), lend),
  }
}
