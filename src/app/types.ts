import type { Backoff } from '../lib/async/backoff.ts'
import type { Clock, Random } from '../lib/async/clock.ts'
import type { CommandType, Envelope, EventType } from '../core/messages/message.ts'
import type { Given } from '../core/messages/given.ts'
import type { OutboxStorage, Waker } from '../core/outbox.ts'
import type { IncomingStep, OutgoingStep } from '../core/pipeline.ts'
import type { Serializer } from '../core/messages/serializer.ts'
import type { Store, UnitOfWork } from '../core/store.ts'
import type { Logger } from '../core/telemetry.ts'
import type { MessageTracker } from '../core/tracker.ts'
import type { Transport } from '../core/transport.ts'
import type { CheckBodies } from './send/outgoing.ts'
import type { RelayOptions } from '../outbox/options.ts'

export interface SendOptions {
  /** Messages with the same key leave in the order of their commits. 1 to 255 bytes. */
  readonly partitionKey?: string
  /** Not before this many milliseconds after the commit; at most a year. */
  readonly delayMs?: number
  /** Text values only. Names that Mersal sets itself are refused. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Sends messages within one transaction (or directly, for `app.direct`). Await every call. Each
 * resolves to the id of the message. The functions may be taken off the object.
 */
export interface Sender {
  /** To the one owner of the command: the route in `routes`, or this app if it handles it. */
  send<Body>(
    this: void,
    type: CommandType<Body>,
    body: Given<Body>,
    options?: SendOptions,
  ): Promise<string>
  /** To this app's own queue. */
  sendLocal<Body>(
    this: void,
    type: CommandType<Body>,
    body: Given<Body>,
    options?: SendOptions,
  ): Promise<string>
  /** To every subscriber of the event. */
  publish<Body>(
    this: void,
    type: EventType<Body>,
    body: Given<Body>,
    options?: SendOptions,
  ): Promise<string>
}

/** What a unit of work offers besides. */
export interface UnitSender extends Sender {
  /**
   * Runs the work in a savepoint of the transaction. If it throws, everything since then is undone,
   * also what was sent and what had failed inside, the error comes through, and the transaction may
   * go on. May be nested; await it before anything else is done.
   */
  savepoint<Result>(this: void, work: () => Promise<Result>): Promise<Result>
}

/** What a handler gets besides the body. Its methods may be taken off the object. */
export interface HandlerContext<Tx> extends UnitSender {
  /**
   * The transaction of this attempt: the library's own handle. Undefined when the app has no store.
   */
  readonly tx: Tx
  readonly message: Envelope
  /**
   * Counts tries of this message, from 1. Not counted: one in a shared transaction that was undone,
   * one that failed because the database was away, and those that ended with `retryLater`.
   */
  readonly attempt: number
  /** With `onDuplicate: 'flag'`: this message has been handled before. */
  readonly duplicate: boolean
  /** Aborts when the handler's time is up or the app is stopped by force. */
  readonly signal: AbortSignal
}

export type Handler<Body, Tx> = (body: Body, context: HandlerContext<Tx>) => Promise<void> | void

export interface HandleOptions {
  /**
   * Up to so many messages of this type that are in hand at the same time share one transaction:
   * their inbox rows, the handlers one after the other, one commit. If one fails, all is rolled
   * back, and each is handled again at once: what a handler does outside its transaction may be
   * repeated more often.
   *
   * What belongs to a transaction reaches the next handlers: uncommitted rows, locks, `set local`,
   * `now()`. Do not set a tenant or a role there, and leave COMMIT to the unit. Together they have
   * `receive.handlerTimeoutMs`. At most `receive.concurrency`; first tries take up to `concurrency`
   * / `batch` transactions at a time. Only with the transactions of `postgres({ pool })`,
   * `sqlite()` and `memoryStore()`. Default 1.
   */
  readonly batch?: number
}

export interface TransactionOptions {
  /** Gives the transaction up: it is rolled back. */
  readonly signal?: AbortSignal
  /**
   * The sender that the callback of an open `transaction()`, or a handler as its context, was
   * given: the very object. Then this is a part of that transaction. Otherwise it is a transaction
   * of its own, always; `false` says that this is meant, where it is called inside another one.
   */
  readonly join?: Sender | false | undefined
}

/** Configuration of the outbox, for those who do not give a whole `store`. */
export interface OutboxConfig<Tx> {
  /** Default: the outbox of the store. */
  readonly storage?: OutboxStorage<Tx>
  readonly relay?: RelayOptions
  /** False: rows are written here, and a relay elsewhere publishes them. Default true. */
  readonly runRelay?: boolean
  /** More hints for the relay, besides those of the store. */
  readonly wakers?: readonly Waker[]
}

export interface IdempotencyConfig<Tx> {
  /** Default: the tracker of the store. */
  readonly tracker?: MessageTracker<Tx>
  /**
   * `skip`: a duplicate is acknowledged without calling the handler. `flag`: it is called with
   * `duplicate: true`. Default 'skip'.
   */
  readonly onDuplicate?: 'skip' | 'flag'
  /** Records are kept this long; longer than the longest redelivery. Default 7 days. */
  readonly retentionMs?: number
}

export interface ReceiveOptions {
  /** Messages handled at one time. Default 10. */
  readonly concurrency?: number
  /** A handler that takes longer has failed, and its `signal` aborts. Default 30000. */
  readonly handlerTimeoutMs?: number
  /** Tries again at once, each in a fresh transaction, before the message goes back. Default 1. */
  readonly immediateRetries?: number
  /** Deliveries before the message becomes a dead letter. Default 5. */
  readonly maxDeliveries?: number
  /** Waiting time between deliveries. Default 1 s, doubling, at most 5 minutes, with jitter. */
  readonly backoff?: Backoff
  /**
   * A message whose handler asks for it again with `retryLater` becomes a dead letter so long after
   * the first such wish, in milliseconds. Default 7 days, or less if the inbox forgets earlier
   * (`idempotency.retentionMs`).
   */
  readonly giveUpAfterMs?: number
}

/** A queue name, or where a type goes: another queue, another transport. */
export type Route = string | { readonly queue?: string; readonly transport?: string }

export interface MersalOptions<Tx> {
  /** Name of the app and of its input queue. */
  readonly name: string
  readonly transport: Transport
  /**
   * Database: gives unit of work, outbox and message tracker. Without it, what a handler sends is
   * published when it has succeeded; other sends go out directly.
   */
  readonly store?: Store<Tx>
  /** Parts of a store, for those who have no whole one. */
  readonly unitOfWork?: UnitOfWork<Tx>
  readonly outbox?: OutboxConfig<Tx>
  readonly idempotency?: IdempotencyConfig<Tx>
  /** Message type name → where it goes. */
  readonly routes?: Readonly<Record<string, Route>>
  /** Further transports by name; a route chooses one. The main one is called 'default'. */
  readonly bridges?: Readonly<Record<string, Transport>>
  /**
   * False: `app.send`, `app.sendLocal` and `app.publish` never use the transaction that the current
   * code runs in; they throw `MERSAL_NO_TRANSACTION` where it would matter. For programs that share
   * queues, limiters or batch loaders between requests, which may carry a call into the transaction
   * of another one. Default true.
   */
  readonly ambientSends?: boolean
  /** True: no input queue, no handlers; it only sends. */
  readonly sendOnly?: boolean
  readonly receive?: ReceiveOptions
  /**
   * `stop()` waits this long for handlers and the relay, in milliseconds, and then up to two
   * seconds for connections. Default 8000: below the ten seconds after which Docker kills.
   */
  readonly stopGraceMs?: number
  readonly incoming?: readonly IncomingStep[]
  readonly outgoing?: readonly OutgoingStep[]
  readonly serializer?: Serializer
  /**
   * Whether a body is opened again before it is sent, as a consumer would: decoded, validated,
   * compared. One that does not arrive as it was sent (a `Date`, a `Map`, `NaN`) throws
   * `MERSAL_INVALID_BODY`. `first`: only the first body of each type. Default 'first', and 'never'
   * with `NODE_ENV=production`.
   */
  readonly checkBodies?: CheckBodies
  /** Default: warnings and errors as JSON lines on standard error. `false`: silence. */
  readonly logger?: Logger | false
  /** For tests. */
  readonly clock?: Clock
  readonly random?: Random
}
