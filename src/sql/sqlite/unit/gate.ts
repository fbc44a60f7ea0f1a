import type { Controls } from '../../units/transaction-words.ts'
import type { SqliteDatabase } from '../connection/database.ts'

/** How the statements of a unit are let through. */
export interface Gate {
  readonly tx: SqliteDatabase
  /**
   * Each ends a statement that still gives rows: a connection that is in the midst of one can be
   * neither closed nor committed.
   */
  readonly iterations: Set<() => unknown>
  /**
   * Throws for a statement that would end the transaction; undefined if it leaves savepoints alone
   * as well.
   */
  admit(sql: string): Controls | undefined
  /** Runs a statement that was let in before. Throws when the unit has ended meanwhile. */
  run<Result>(controls: Controls | undefined, statement: () => Result): Result
}
