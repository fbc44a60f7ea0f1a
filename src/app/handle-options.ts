import type { OnExpired } from '../core/messages/expiry.ts'
import type { Envelope } from '../core/messages/message.ts'
import type { Backoff } from '../lib/async/backoff.ts'

/**
 * A limit on how fast messages are handled. It holds in each process of the app by itself, and
 * counts deliveries: a duplicate and each further try count again.
 *
 * A message that has to wait is charged no attempt. It waits in memory for up to two minutes, or
 * goes back to its queue and comes again later; others pass it meanwhile.
 */
export interface LimitOptions {
  /**
   * Messages handled at one time. From 1 to `receive.concurrency`. Default: no limit of its own.
   */
  readonly concurrency?: number
  /**
   * Messages that begin in a second, evenly: in any second at most a twentieth and one more. From
   * 0.001 to 10,000; 0.1 is one in ten seconds. With it there are no tries at once
   * (`receive.immediateRetries`): each try waits for its turn. Default: no rate.
   */
  readonly perSecond?: number
  /**
   * What has this limit for itself: 'key' is each partition key, a function names the group of a
   * message. A message without a key, or for which the function returns undefined, is not limited.
   * A function that throws, or returns something else, is logged as an error, and such messages
   * share one limit. Default: all messages together.
   */
  readonly by?: 'key' | ((message: Envelope) => string | undefined)
}

/** How an app receives. Every time is in milliseconds. */
export interface ReceiveOptions {
  /** Messages handled at one time. From 1 to 10,000. Default 10. */
  readonly concurrency?: number
  /**
   * Limits for the messages of all types together, beside those of each type (`limit` of
   * `handle()`). At most 10. Default none.
   */
  readonly limit?: LimitOptions | readonly LimitOptions[]
  /**
   * A handler that takes longer has failed, and its `signal` aborts. From 1 to a day. Default
   * 30,000.
   */
  readonly handlerTimeoutMs?: number
  /**
   * Tries at once after the first one, each in a transaction of its own, before the message goes
   * back to the queue. From 0 to 100. Default 1.
   */
  readonly immediateRetries?: number
  /** Deliveries before the message becomes a dead letter. From 1 to 10,000. Default 5. */
  readonly maxDeliveries?: number
  /**
   * Waiting time between deliveries, with jitter. Default: 1,000 after the first, doubled each
   * time, at most 300,000.
   */
  readonly backoff?: Backoff
  /**
   * A message whose handler asks for it again with `retryLater` becomes a dead letter this long
   * after the first such wish. From 0 to ten years. Default 7 days, or less if the inbox forgets
   * earlier (`idempotency.retentionMs`).
   */
  readonly giveUpAfterMs?: number
  /**
   * True: of one partition key one message is handled at a time, in order, by all processes of the
   * app together. A retry and `retryLater` hold their own key only; after a dead letter its key
   * goes on. `start()` throws `MERSAL_INVALID_OPTIONS` on a transport that cannot. Default false.
   */
  readonly orderPerKey?: boolean
  /**
   * What becomes of a message that arrives after it has expired (`expiresInMs` of its sender). No
   * handler is called. 'discard' removes it without a copy, also one that an operator has put back.
   * Default 'dead-letter'.
   */
  readonly onExpired?: OnExpired
}

/** Options of `handle()`. */
export interface HandleOptions {
  /**
   * At most this many messages of the type share one transaction: their inbox rows in one
   * statement, the handlers one after the other, one commit. A transaction takes the messages that
   * are in hand when it begins; none waits for more. If one fails, all are rolled back, and each is
   * handled again at once. So a handler may repeat more often what it does outside its transaction.
   *
   * A handler sees what the handlers before it left in the transaction: uncommitted rows, locks,
   * `set local`, `now()`. Do not set a tenant or a role there, and leave COMMIT to the unit. All of
   * them together have `receive.handlerTimeoutMs`.
   *
   * From 1 to `receive.concurrency`. Default 1. First tries take up to `concurrency` / `batch`
   * transactions at a time. Only with the units of work of `postgres({ pool })`, `sqlite()` and
   * `memoryStore()`; others throw `MERSAL_INVALID_OPTIONS`.
   */
  readonly batch?: number
  /** When a message of this type is tried again. Default: by the options in `receive`. */
  readonly retry?: RetryOptions
  /**
   * How many messages of this type are handled at one time, and in a second; at most 10 limits,
   * all of which hold. Default: only those in `receive`.
   */
  readonly limit?: LimitOptions | readonly LimitOptions[]
}

/**
 * When messages of one type are tried again. What a function throws, or answers beside what is
 * documented, is logged as an error, and the message is retried as if there were no function.
 */
export interface RetryOptions {
  /**
   * Tries before the message becomes a dead letter, each of them a delivery of its own. From 1 to
   * 10,000. Default: `receive.maxDeliveries`, each with `receive.immediateRetries`.
   */
  readonly maxAttempts?: number
  /**
   * Waiting time between deliveries: a backoff with jitter, or a function that answers in
   * milliseconds, at most an hour. It gets the number of the try that failed, from 1, and its
   * error. Default: `receive.backoff`.
   */
  readonly backoff?: Backoff | ((attempt: number, error: unknown) => number)
  /**
   * False makes the message a dead letter at once (`handler-failed`). It is asked about every
   * failure but those that decide by themselves: `reject`, `retryLater`, a database that is away.
   * Default: every failure is tried again.
   */
  readonly retryIf?: (error: unknown) => boolean
}
