import type { OutgoingMessage } from './messages/message.ts'

/** What travels as a parameter of a statement through every database library. */
export type StatementValue = string | number | boolean | null | Uint8Array

export interface StatementResult {
  readonly rows: readonly Record<string, unknown>[]
}

/**
 * Runs one statement of the queue. `often`: the text comes again and again, and may be prepared.
 */
export type RunStatement = (
  text: string,
  values: readonly StatementValue[],
  options?: { readonly often: boolean },
) => Promise<StatementResult>

/**
 * Of an outbox storage: lets a queue that lives in the same place write in the caller's
 * transaction.
 */
export interface OpenToQueue<Tx> {
  /**
   * Which tables these are; equal texts are the same place: server, database, schema. Asks the
   * database.
   */
  place(): Promise<string>
  /**
   * Runs one statement of the queue inside this transaction; throws as `save` does. The statement
   * has two parameters more than are given, those of `proof`, and writes nothing if they prove
   * nothing.
   */
  query(tx: Tx, ...statement: Parameters<RunStatement>): Promise<StatementResult>
}

/**
 * Of a transport whose queues live in a database: messages go straight into the queue inside the
 * caller's transaction, with no outbox row and no relay in between.
 */
export interface StraightRoad {
  /** As of `OpenToQueue`. Makes sure that the tables are there. */
  place(): Promise<string>
  /**
   * Puts messages into their queues. Locks all of `keys` before, as the outbox does. Answers one
   * boolean per message: false means that it must go through the outbox, and so must every later
   * one of its key.
   */
  put(
    query: RunStatement,
    messages: readonly OutgoingMessage[],
    keys: readonly string[],
  ): Promise<readonly boolean[]>
  /** The transaction of these messages has committed, or may have: a hint to wake consumers. */
  committed(messages: readonly OutgoingMessage[]): void
}
