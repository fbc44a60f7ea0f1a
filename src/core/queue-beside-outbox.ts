import type { OutgoingMessage } from './messages/message.ts'

/** What travels as a parameter of a statement through every database library. */
export type StatementValue = string | number | boolean | null | Uint8Array

export interface StatementResult {
  readonly rows: readonly Record<string, unknown>[]
}

/**
 * Runs one statement of the queue. `often`: the same text is run many times, and may be prepared.
 */
export type RunStatement = (
  text: string,
  values: readonly StatementValue[],
  options?: { readonly often: boolean },
) => Promise<StatementResult>

/**
 * Part of an outbox storage: lets a queue in the same place write in the transaction of the caller.
 */
export interface OpenToQueue<Tx> {
  /**
   * Returns the place of the tables: server, database, schema. Equal texts are the same place. Asks
   * the database.
   */
  place(): Promise<string>
  /**
   * Runs one statement of the queue inside this transaction. Throws as `save` does. The statement
   * has two parameters more than are given, those of `proof`. It writes nothing if they prove
   * nothing.
   */
  query(tx: Tx, ...statement: Parameters<RunStatement>): Promise<StatementResult>
}

/**
 * Part of a transport whose queues live in a database. If they live in the place of the outbox,
 * messages go straight into the queue in the transaction of the caller: there is no outbox row and
 * no relay in between.
 */
export interface QueueBesideOutbox {
  /** As `place` of `OpenToQueue`. Creates the tables if they are missing. */
  place(): Promise<string>
  /**
   * Puts messages into their queues, after it has locked all of `keys` as the outbox does. Returns
   * one boolean per message. False: the message must go through the outbox, and so must every later
   * message of its key.
   */
  put(
    query: RunStatement,
    messages: readonly OutgoingMessage[],
    keys: readonly string[],
  ): Promise<readonly boolean[]>
  /** Wakes consumers: the transaction of these messages has committed, or may have. */
  committed(messages: readonly OutgoingMessage[]): void
}
