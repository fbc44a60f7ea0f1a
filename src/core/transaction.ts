import type { Envelope } from './messages/message.ts'

/** The ambient record of the transaction that the current code runs in. */
export interface TransactionContext<Tx> {
  /** The handle of the database library. */
  readonly tx: Tx
  /** The message that is being handled, if any. */
  readonly cause: Envelope | undefined
}
