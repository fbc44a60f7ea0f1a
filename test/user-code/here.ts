import type { Mersal, UnitSender } from '../../src/index.ts'
import type { LibraryUnderTest } from '../postgres/session-suite.ts'
import type { Scope, Trace } from './trace.ts'

/** What a program needs of a database library. */
export type Library<Tx> = Pick<
  LibraryUnderTest<Tx>,
  'transaction' | 'insert' | 'savepoint' | 'fail'
> & {
  /** Runs a text as a statement. */
  readonly end?: (tx: Tx, text: string) => Promise<void>
  /** Runs it in a way that nobody sees. */
  readonly endUnseen?: (tx: Tx, text: string) => Promise<void>
  /** Fails with an error with which the database rolls back all of the transaction. */
  readonly undo?: (tx: Tx) => Promise<void>
}

export interface Inside<Tx> {
  readonly app: Mersal<Tx>
  readonly library: Library<Tx>
  readonly trace: Trace
  readonly tx: Tx
  /** Undefined in a transaction that the library has opened. */
  readonly sender: UnitSender | undefined
  /** Resolves when the time of a handler is long over. */
  readonly outlive: () => Promise<void>
  /** Gives the transaction up. */
  readonly abort: () => void
}

export interface Here<Tx> extends Inside<Tx> {
  /** The handle of the whole transaction; those of savepoints belong to the library alone. */
  readonly whole: Tx
  readonly scope: Scope
}
