import type { DeadReason } from './dead-letter.ts'
import type { Envelope, OutgoingMessage } from './messages/message.ts'
import type { TransportOperations } from './operations.ts'
import type { QueueBesideOutbox } from './queue-beside-outbox.ts'
import type { GivingUp } from '../lib/async/linked-abort.ts'

/**
 * The answer to one published message.
 *
 * - `confirmed`: the broker holds it durably.
 * - `refused`: a fault of this message (too large, unroutable, not accepted). The attempt counts.
 *   `permanent` means that trying again is useless.
 * - `unavailable`: a fault of the destination, and the broker certainly does not hold the message.
 *   `back` resolves when it is worth trying again, and never rejects. Without it, which a transport
 *   may leave out, the destination is probed now and then. `withdrawn`: nothing is wrong with the
 *   destination; the message was taken back before its turn came.
 * - `unknown`: it may or may not be with the broker (timeout, lost connection after the write).
 */
export type PublishOutcome =
  | { readonly kind: 'confirmed' }
  | {
      readonly kind: 'refused'
      readonly reason: Extract<DeadReason, 'refused' | 'unroutable' | 'too-large'>
      readonly error: Error
      readonly permanent: boolean
    }
  | {
      readonly kind: 'unavailable'
      readonly error: Error
      readonly back?: Promise<void>
      readonly withdrawn?: boolean
    }
  | { readonly kind: 'unknown'; readonly error: Error }

/** When a publish is given up. */
export interface PublishOptions {
  /**
   * Aborts the waiting, not the message: what was already written answers `unknown`. Default none.
   */
  readonly signal?: AbortSignal
  /**
   * What has not been written when it aborts is not written any more, and answers `unavailable`,
   * `withdrawn`. Default none.
   */
  readonly withdraw?: AbortSignal
}

export interface TransportFeatures {
  /**
   * `per-key`: of the messages of one key in one `publish` call, a later one is confirmed only if
   * every earlier one is; so the relay may hand over a whole run at once. `none`: the relay keeps
   * at most one unconfirmed message per key.
   */
  readonly ordering: 'none' | 'per-key'
  /**
   * For a transport with `ordering: 'none'` that sends several messages as one. Returns how many of
   * these messages of one key, counted from the first, keep their order in one `publish` call.
   */
  readonly together?: (messages: readonly OutgoingMessage[]) => number
  /**
   * Every publish is answered in the end, and not before it is known what became of the message,
   * however long a slow or busy link takes. So the relay renews the claims of what is on its way.
   * Default false.
   */
  readonly patient?: boolean
  /** Largest body plus headers, in bytes, that a message may have. Checked when it is sent. */
  readonly maxMessageBytes: number
  /**
   * Whether of one key one message is in hand at a time, in the order in which they came to the
   * queue, over all consumers of the queue: `always`, or `when-asked` by `Consumption.orderPerKey`.
   * A retry holds its own key only; a dead letter lets the next one go on. The key is the
   * `partitionKey` of the message, and its header `partition-key`. Default: never.
   */
  readonly orderPerKey?: 'always' | 'when-asked'
  /** Tools find only the queues that they are told of: the broker lists none. Default false. */
  readonly namedQueuesOnly?: boolean
}

/** What arrived. `id` and `type` are empty when the message came without them. */
export interface Delivery {
  readonly message: Envelope
  readonly queue: string
  /** Counts deliveries of this message to this queue, from 1, over all consumers and restarts. */
  readonly attempt: number
  /**
   * The number of the last `retry` with a `postponedSince`, in milliseconds since the Unix epoch.
   * Every later delivery of this message carries it.
   */
  readonly postponedSince?: number
  /** Aborts when the transport has lost its hold on the message, or is being closed by force. */
  readonly signal: AbortSignal
  /**
   * As `signal`, from a transport that spares most deliveries a signal, which is made when it is
   * first asked for. Several deliveries may share it.
   */
  readonly givingUp?: GivingUp
}

/**
 * What the transport does with a delivery.
 *
 * - `ack`: remove it.
 * - `retry`: deliver it again after `delayMs`, with the next attempt number; durable. With
 *   `postponedSince` it is no failure but a wish of the handler: the attempt does not count, and
 *   every later delivery carries that number (milliseconds since the Unix epoch).
 * - `release`: deliver it again at once; the attempt does not count, where the broker allows that.
 * - `reject`: move it to the dead letters with its bytes and the reason.
 */
export type Disposition =
  | { readonly kind: 'ack' }
  | {
      readonly kind: 'retry'
      readonly delayMs: number
      readonly error: Error
      readonly postponedSince?: number
    }
  | { readonly kind: 'release' }
  | { readonly kind: 'reject'; readonly reason: DeadReason; readonly error: Error }

/** Whether a queue was removed, or why not. */
export type QueueRemoval =
  | { readonly kind: 'removed' }
  | { readonly kind: 'kept'; readonly why: string }

export interface Consumption {
  readonly queue: string
  /** Most deliveries in the hands of the callback at one time. */
  readonly concurrency: number
  /** Asked only of transports whose features say that they can. Default false. */
  readonly orderPerKey?: boolean
  /**
   * Called with why nothing can be received, when that begins or its reason changes, and with
   * undefined when receiving works again. It may be told the same again, and must not throw. A
   * transport that never calls it is taken to receive.
   */
  readonly onTrouble?: OnTrouble
}

/** Undefined: receiving works. */
export type OnTrouble = (error: Error | undefined) => void

/**
 * A broker. Everything that it keeps is durable, unless its documentation warns that it is not.
 *
 * An implementation passes the transport suite of `mersal/testing`.
 */
export interface Transport extends AsyncDisposable {
  readonly name: string
  readonly features: TransportFeatures
  /** An app that uses it logs each of them as a warning when it starts. */
  readonly warnings?: readonly string[]
  /**
   * Only of queues in a database: the way into them inside the transaction of an outbox in the same
   * place.
   */
  readonly straight?: QueueBesideOutbox
  /** For tools of operators. */
  readonly operations?: TransportOperations
  /**
   * Returns one promise per message, in the same order. None of them rejects. Messages of one call
   * that have no key may be sent in any order. A message to a queue that nobody declared, or to a
   * topic without subscribers, is refused as `unroutable`.
   */
  publish(
    messages: readonly OutgoingMessage[],
    options?: PublishOptions,
  ): readonly Promise<PublishOutcome>[]
  /**
   * Declares the queue and makes each of these topics deliver into it, durably; with no topics it
   * only declares. Repeating it changes nothing. `remove` takes topics back, again durably. Rejects
   * with `MERSAL_UNAVAILABLE` when the broker cannot be reached, so that the app tries again; with
   * anything else when waiting cannot fix it.
   */
  subscribe(
    queue: string,
    topics: readonly string[],
    options?: { readonly remove?: boolean },
  ): Promise<void>
  /**
   * Returns the topics that deliver into the queue, whoever has subscribed it to them. Optional:
   * only where that is not expensive.
   */
  topicsOf?(queue: string): Promise<readonly string[]>
  /**
   * Removes the queue with its subscriptions, unless messages or dead letters are in it, or, where
   * the broker knows, somebody reads it. Resolves as well if there is none.
   */
  removeQueue?(queue: string): Promise<QueueRemoval>
  /**
   * Hands every message of the queue to the callback and settles what it returns; a callback that
   * throws counts as `retry` at once. Disposing stops fetching, then waits for the callbacks in
   * progress. Several consumers of one queue share its messages. Rejects as `subscribe` does. Once
   * it has resolved, the consumer recovers from failures by itself.
   */
  consume(
    consumption: Consumption,
    onDelivery: (delivery: Delivery) => Promise<Disposition>,
  ): Promise<AsyncDisposable>
}
