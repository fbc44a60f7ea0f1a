import type { Clock, Random } from '../lib/async/clock.ts'
import type { Given } from '../core/messages/given.ts'
import type { Envelope } from '../core/messages/message.ts'
import type { IncomingStep, OutgoingStep } from '../core/pipeline.ts'
import type { BodyCodec } from '../core/messages/codec.ts'
import type { TypeOf, WireFormat } from '../core/messages/wire-format.ts'
import type { Serializer } from '../core/messages/serializer.ts'
import type { Store, UnitOfWork } from '../core/store.ts'
import type { Logger } from '../core/telemetry.ts'
import type { Transport } from '../core/transport.ts'
import type { HandlingStep } from './receive/handling-steps.ts'
import type { CheckBodies } from './send/outgoing.ts'
import type { IdempotencyConfig, LifecycleHook, OutboxConfig } from './configs.ts'
import type { HandleOptions, LimitOptions, ReceiveOptions, RetryOptions } from './handle-options.ts'
import type { Sender, UnitSender } from './senders.ts'

export type { HandleOptions, LimitOptions, ReceiveOptions, RetryOptions }
export type { IdempotencyConfig, LifecycleHook, OutboxConfig }
export type { Address, EventOptions, SendOptions, TransactionSender } from './senders.ts'
export type { Sender, UnitSender }

/** The second argument of a handler. Its functions need no `this`. */
export interface HandlerContext<Tx, Reply = unknown> extends UnitSender {
  /**
   * Answers a request (`app.request`). The reply is a message of the transaction, so it leaves if
   * that commits. The asker takes the first one. Resolves to its id. Throws `MERSAL_NO_ROUTE`, as a
   * send does, if nobody asked: then the message has no header `reply-to`.
   */
  reply(this: void, body: Given<Reply>): Promise<string>
  /**
   * The transaction of this attempt: the handle of the database library. Undefined when the app has
   * no store.
   */
  readonly tx: Tx
  /** The tenant of the app; undefined without one. */
  readonly tenant: string | undefined
  /** The message as it came: id, type, headers, bytes. */
  readonly message: Envelope
  /**
   * Number of this try, from 1, over all deliveries of the message. A try does not count if its
   * shared transaction was undone, if it failed because the database was away, or if it ended with
   * `retryLater`.
   */
  readonly attempt: number
  /** True if the message has been handled before. Only with `onDuplicate: 'flag'`. */
  readonly duplicate: boolean
  /** Aborts when the time of the handler is up, or when the app is stopped by force. */
  readonly signal: AbortSignal
}

/**
 * Handles one message. What it writes through `tx` and what it sends is committed together after it
 * has resolved. If it throws, everything is rolled back and the message is tried again.
 */
export type Handler<Body, Tx, Reply = unknown> = (
  body: Body,
  context: HandlerContext<Tx, Reply>,
) => Promise<void> | void

/** Options of `transaction()`. */
export interface TransactionOptions {
  /**
   * Gives the transaction up when it aborts: the transaction is rolled back. Default: nothing gives
   * it up.
   */
  readonly signal?: AbortSignal
  /**
   * The sender that the callback of an open `transaction()` was given, or the context of a handler:
   * the very object. The work then becomes a part of that transaction. `false` says that a
   * transaction inside another one is meant to be separate. Default: always a separate transaction.
   */
  readonly join?: Sender | false | undefined
}

/** Where a message type goes: the name of a queue, or a queue and a transport. */
export type Route = string | { readonly queue?: string; readonly transport?: string }

/** Options of `new Mersal()`. */
export interface MersalOptions<Tx> {
  /**
   * Name of the app and of its input queue. 1 to 200 letters, digits, '.', '_', ':', '/' or '-'.
   */
  readonly name: string
  /**
   * The tenant whose database this app has: everything that it sends carries the header `tenant`
   * with this name, and a message of another tenant becomes a dead letter (`unknown-tenant`). 1 to
   * 100 letters, digits, '.', '_' or '-'. `createTenants` sets it. Default: no tenant.
   */
  readonly tenant?: string
  /** The broker. The app closes it when it stops. */
  readonly transport: Transport
  /**
   * The database: unit of work, outbox and message tracker. The app closes it when it stops.
   * Without a store, what a handler sends is published when the handler has succeeded, and other
   * sends go out directly. Default none.
   */
  readonly store?: Store<Tx>
  /**
   * Replaces the unit of work of the store, or stands alone beside `outbox.storage`. Default: that
   * of the store.
   */
  readonly unitOfWork?: UnitOfWork<Tx>
  /** The outbox and its relay. Default: the outbox of the store. */
  readonly outbox?: OutboxConfig<Tx>
  /** The inbox. Default: that of the store. */
  readonly idempotency?: IdempotencyConfig<Tx>
  /**
   * Where message types go, by their names. A command without a route belongs to this app. Default
   * none.
   */
  readonly routes?: Readonly<Record<string, Route>>
  /**
   * Further transports by name. A route chooses one. The main one is called 'default'. Default
   * none.
   */
  readonly bridges?: Readonly<Record<string, Transport>>
  /**
   * False: `app.send`, `app.sendLocal` and `app.publish` never use the transaction that the current
   * code runs in. They throw `MERSAL_NO_TRANSACTION` where it would matter. For programs that share
   * queues, limiters or batch loaders between requests, which may carry a call into the transaction
   * of another one. Default true.
   */
  readonly ambientSends?: boolean
  /** True: the app has no input queue and no handlers. It only sends. Default false. */
  readonly sendOnly?: boolean
  /** How the app receives: how much at a time, when again. Default: as each of its fields says. */
  readonly receive?: ReceiveOptions
  /**
   * How long `stop()` waits for handlers and the relay, in milliseconds. After that it waits up to
   * two seconds for connections. From 0 to an hour. Default 8,000, which is below the ten seconds
   * after which Docker kills a process.
   */
  readonly stopGraceMs?: number
  /** Steps around each delivery, from the outside in. Default none. */
  readonly incoming?: readonly IncomingStep[]
  /**
   * Steps around each handler, inside its transaction, from the outside in. A step that does not
   * call `next` leaves the handler out, and the message counts as handled. A step that ends before
   * `next` has ended throws `MERSAL_NOT_AWAITED`. Default none.
   */
  readonly handling?: readonly HandlingStep<Tx>[]
  /** Steps around each message that is sent, from the outside in. Default none. */
  readonly outgoing?: readonly OutgoingStep[]
  /**
   * Run one after the other by `start()`, when the database is open and before anything is
   * consumed or relayed. One that throws fails the start. Default none.
   */
  readonly onStart?: readonly LifecycleHook[]
  /**
   * Run one after the other when everything is closed, by `stop()` or by a start that fails. All of
   * them run, whatever one throws. `stop()` waits for them until two seconds after the grace
   * period, and throws the first error. Default none.
   */
  readonly onStop?: readonly LifecycleHook[]
  /** Turns bodies into bytes and back. Default JSON in UTF-8. */
  readonly serializer?: Serializer
  /**
   * In place of `serializer`: the first one writes bodies of types without a `contentType` of their
   * own, and each reads the bodies of its content type. Default: `serializer` alone.
   */
  readonly serializers?: readonly Serializer[]
  /**
   * What changes the bytes of bodies on their way out, in this order, and back on their way in:
   * `encryption()` and `claimCheck()` of `mersal/contracts`. Default none.
   */
  readonly codecs?: readonly BodyCodec[]
  /**
   * How messages look to programs that do not know Mersal: `cloudEvents()` of `mersal/contracts`.
   * Default: headers of Mersal alone.
   */
  readonly wireFormat?: WireFormat
  /**
   * Names the type of a foreign message, which came without one; undefined if it does not know it.
   * With an id of the sender a repeated message is known for a duplicate. Without one it gets a new
   * id with each delivery, and is handled at least once. It must not change the message. Default: a
   * message without a type becomes a dead letter.
   */
  readonly typeOf?: TypeOf
  /**
   * Names of headers that everything a handler sends carries on from the message that it handles,
   * unless the sender gives them: `['tenant']`. In any case, at most 50. `traceparent`,
   * `tracestate` and `baggage` are always carried on. Default none.
   */
  readonly inheritHeaders?: readonly string[]
  /**
   * Whether a body is opened again before it is sent, as a consumer would do: decoded, validated,
   * compared. A body that does not arrive as it was sent (a `Date`, a `Map`, `NaN`) throws
   * `MERSAL_INVALID_BODY`. `first`: only the first body of each type. Default 'first', and 'never'
   * with `NODE_ENV=production`.
   */
  readonly checkBodies?: CheckBodies
  /** Default: warnings and errors as JSON lines on standard error. `false`: no log. */
  readonly logger?: Logger | false
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
  /** For tests. A number from 0 up to 1. Default `Math.random`. */
  readonly random?: Random
}
