import type { Store } from '../../../src/core/store.ts'
import type { Transport } from '../../../src/core/transport.ts'

/** A message as the business tables know it. */
export interface BusinessRow {
  readonly id: string
  readonly topic: string
  readonly key: string | undefined
  readonly digest: string
}

export type DeskRow = Readonly<Record<string, unknown>>
type SqlValue = string | number

/** What a process of the harness works with: its database and its broker. */
export interface Desk<Tx> extends AsyncDisposable {
  readonly store: Store<Tx>
  readonly transport: Transport
  /** Records the messages of a transaction, in it. */
  business(tx: Tx, rows: readonly BusinessRow[]): Promise<void>
  /** The effect of handling a message; its table has no constraint. */
  effect(tx: Tx, id: string, digest: string): Promise<void>
  /** Of the names of tables. */
  readonly prefix: string
  /** Milliseconds by the clock that delays go by, as SQL. */
  readonly now: string
  /** `?` stands for a value. */
  run(tx: Tx, sql: string, ...values: SqlValue[]): Promise<readonly DeskRow[]>
  /** The same on a connection of its own. */
  ask(sql: string, ...values: SqlValue[]): Promise<readonly DeskRow[]>
  /**
   * A transaction that Mersal does not own. Commits if the work resolves. Undefined where it would
   * stop everybody else.
   */
  readonly foreign: ((work: (tx: Tx) => Promise<void>) => Promise<void>) | undefined
}
