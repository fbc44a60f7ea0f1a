import type { Given } from '../core/messages/given.ts'
import type { CommandType, EventType } from '../core/messages/message.ts'
import type { Cancellation } from '../core/outbox.ts'

/** Where a command goes: the name of a queue, or a queue and a transport of this app. */
export type Address = string | { readonly queue: string; readonly transport?: string }

/** Options of one send. */
export interface SendOptions {
  /**
   * Only `send`: the queue that it goes to, in place of its route. For addresses that are known at
   * run time alone. The name of an app is that of its queue. An object names a transport of this
   * app as well; without one it is that of the route, or the main one. Default: the route of the
   * type.
   */
  readonly to?: Address
  /**
   * Messages with the same key leave in the order of their commits. 1 to 255 bytes of UTF-8,
   * without control characters. Default none: no order is promised.
   */
  readonly partitionKey?: string
  /**
   * The message is not published before its commit, nor before this many milliseconds after it was
   * written to the outbox: just before the commit, or within a transaction of somebody else at the
   * call. From 0 to a year. Default 0. Needs an outbox.
   */
  readonly delayMs?: number
  /**
   * The message is not published before this time, by the clock of this process; at most a year
   * ahead. A time that has passed is now. In place of `delayMs`. Needs an outbox. Default: at once.
   */
  readonly at?: Date
  /**
   * The message is neither published nor handled when this many milliseconds after the call have
   * passed, by the clocks of the processes. More than 0, at most a year, and longer than `delayMs`.
   * Default: it never expires.
   */
  readonly expiresInMs?: number
  /**
   * Id of the message: a UUID that the sender knows before it sends, such as that of a request. A
   * consumer with an inbox handles one id once, so a later message with it has no effect there.
   * Default: a new one.
   */
  readonly id?: string
  /**
   * At most 100 headers: 8 KiB of text each, 48 KiB together. Names that Mersal sets itself are
   * refused. Default none.
   */
  readonly headers?: Readonly<Record<string, string>>
}

/** Options of one publish. */
export interface EventOptions extends Omit<SendOptions, 'to'> {
  /**
   * The transport of this app on which the event is published, in place of that of its route: what
   * a bridge does with an event that it has received from another one. Default: that of the route,
   * or the main one.
   */
  readonly to?: { readonly transport: string }
}

/**
 * Sends messages within one transaction, or directly for `app.direct`. Await every call. Each call
 * resolves to the id of the message. The functions need no `this`.
 *
 * Throws `MERSAL_NO_ROUTE`, `MERSAL_INVALID_MESSAGE`, `MERSAL_INVALID_BODY`, `MERSAL_ENCODE` or
 * `MERSAL_TOO_LARGE` before anything is stored or sent.
 */
export interface Sender {
  /**
   * Sends a command to the one app that owns it: by its route in `routes`, or to this app if it
   * handles the command.
   */
  send<Body>(
    this: void,
    type: CommandType<Body>,
    body: Given<Body>,
    options?: SendOptions,
  ): Promise<string>
  /** Sends a command to the queue of this app. */
  sendLocal<Body>(
    this: void,
    type: CommandType<Body>,
    body: Given<Body>,
    options?: SendOptions,
  ): Promise<string>
  /** Publishes an event to every subscriber. */
  publish<Body>(
    this: void,
    type: EventType<Body>,
    body: Given<Body>,
    options?: EventOptions,
  ): Promise<string>
}

/** The sender of a transaction. */
export interface TransactionSender extends Sender {
  /**
   * Takes a delayed message (`delayMs`, `at`) back, by its id. If this transaction commits, the
   * message never leaves; after a rollback it waits as before. Also one of the same transaction.
   *
   * Resolves to `cancelled`; to `gone` if a relay has taken it, so that it was published or may
   * still be; to `unknown` if the outbox holds no delayed message with this id: it was published or
   * given up, it was cancelled before, it had no delay, or there never was one.
   *
   * Throws `MERSAL_INVALID_MESSAGE` for what is no UUID, `MERSAL_NO_TRANSACTION` without an outbox,
   * and `MERSAL_NOT_A_TRANSACTION` or `MERSAL_UNIT_ENDED` as a send does.
   */
  cancel(this: void, id: string): Promise<Cancellation>
}

/** The sender of a transaction that Mersal runs. */
export interface UnitSender extends TransactionSender {
  /**
   * Runs the work once the commit is certain: at most once, and never if the transaction, or the
   * savepoint around the call, is rolled back. `transaction()` does not wait for a promise that it
   * returns; `stop()` does. A failure is logged and changes nothing. What must not be lost belongs
   * into a message instead: a crash right after the commit loses the work.
   *
   * In an app without an outbox it runs when the handler has succeeded and what it sent is
   * published. Throws `MERSAL_UNIT_ENDED` or `MERSAL_INVALID_OPTIONS`.
   */
  afterCommit(this: void, work: () => unknown): void
  /**
   * Runs the work in a savepoint of the transaction. If the work throws, everything since the
   * savepoint is undone: rows, messages, and failures inside. The error comes through, and the
   * transaction may go on. Savepoints may be nested. Await each one before you do anything else.
   *
   * Throws the error of the work, `MERSAL_NOT_AWAITED`, or `MERSAL_ROLLED_BACK` if a statement
   * inside had failed and its error was caught.
   */
  savepoint<Result>(this: void, work: () => Promise<Result>): Promise<Result>
}
