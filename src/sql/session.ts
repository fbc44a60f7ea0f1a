import type { UnitOfWork } from '../core/store.ts'
import type { Lent } from './sessions/lent/lent.ts'
import type { Dialect } from './units/statement-scan.ts'

/**
 * Runs one statement inside a transaction that a database library has opened. Statements of one
 * transaction are never run in parallel: each is awaited before the next one is sent.
 */
export interface SqlExecutor {
  /**
   * `text` has the placeholders of the database (`$1`, `$2` for PostgreSQL). `values` are only
   * text, numbers, booleans, null and `Uint8Array` (bytes); no arrays, no dates, so that every
   * library passes them on unchanged. Rows are plain objects by column name; a store asks only for
   * text, booleans and bytes, since libraries disagree about every other type. `often`: this text
   * comes again and again, so that a library which knows prepared statements may prepare it.
   */
  query(
    text: string,
    values?: readonly SqlValue[],
    options?: { readonly often: boolean },
  ): Promise<{ readonly rows: readonly Record<string, unknown>[] }>
}

export type SqlValue = string | number | boolean | null | Uint8Array

/** How a library opens a transaction, and how its handle is lent to the work of a unit. */
export interface Opening<Tx> {
  open<Result>(this: void, work: (tx: Tx) => Promise<Result>): Promise<Result>
  /** `dialect`: of the statements of the work. Default: that of PostgreSQL. */
  lend(this: void, tx: Tx, dialect?: Dialect): Lent<Tx> | Promise<Lent<Tx>>
}

/**
 * How a store works inside the transactions of one database library. `Tx` is what the library
 * itself hands to its users inside a transaction.
 */
export interface Session<Tx> {
  /** Name of the library, for errors. */
  readonly name: string
  /**
   * Throws `MERSAL_NOT_A_TRANSACTION` for anything but the handle of an open transaction, such as
   * the root handle of the library.
   */
  executor(tx: Tx): SqlExecutor
  /**
   * As `executor`, for statements that may come after the end of their transaction, where the
   * library does not answer such a one. It refuses them with `MERSAL_NOT_A_TRANSACTION`. Default:
   * `executor`.
   */
  lateExecutor?(tx: Tx): SqlExecutor
  /** Opens transactions with the library itself, so that handlers get its own handle. */
  readonly unitOfWork?: UnitOfWork<Tx>
  /** The same for a store that looks after its units in its own way. */
  readonly opening?: Opening<Tx>
  /** The library cuts statements at `$1`, whatever placeholders the database has. */
  readonly cutsAtNumbers?: true
}
