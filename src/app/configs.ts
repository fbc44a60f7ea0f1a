import type { OutboxStorage, Waker } from '../core/outbox.ts'
import type { MessageTracker } from '../core/tracker.ts'
import type { RelayOptions } from '../outbox/options.ts'

/** Configuration of the outbox. An app with a `store` needs it only to change the defaults. */
export interface OutboxConfig<Tx> {
  /** Default: the outbox of the store. */
  readonly storage?: OutboxStorage<Tx>
  /** How the relay works. Default: as each of its fields says. */
  readonly relay?: RelayOptions
  /**
   * False: this app only writes rows, and a relay elsewhere publishes them. Default true.
   */
  readonly runRelay?: boolean
  /** Further hints for the relay, besides those of the store. Default none. */
  readonly wakers?: readonly Waker[]
}

/** Configuration of the inbox. */
export interface IdempotencyConfig<Tx> {
  /** Default: the tracker of the store. */
  readonly tracker?: MessageTracker<Tx>
  /**
   * `skip`: a duplicate is acknowledged, and no handler is called. `flag`: the handler is called
   * with `duplicate: true`. Default 'skip'.
   */
  readonly onDuplicate?: 'skip' | 'flag'
  /**
   * How long inbox records are kept, in milliseconds. Must be longer than the longest redelivery
   * by the options in `receive`, else `MERSAL_INVALID_OPTIONS`. Default 7 days, at most ten years.
   */
  readonly retentionMs?: number
}

/**
 * Work at the start or at the end of an app. `signal` aborts when nobody waits for it any more. A
 * promise that it returns is awaited.
 */
export type LifecycleHook = (context: { readonly signal: AbortSignal }) => unknown
