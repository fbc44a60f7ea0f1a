import type { DeadReason } from './dead-letter.ts'
import type { OutgoingMessage } from './messages/message.ts'
import type { StorageClock } from './storage-clock.ts'
import type { OpenToQueue, RunStatement } from './queue-beside-outbox.ts'

/**
 * Where outgoing messages wait until the broker has confirmed them: the heart of the outbox, three
 * verbs on one table. An implementation passes the outbox suite of `mersal/testing`.
 *
 * `Tx` is the handle of a transaction: whatever the database library hands to its users.
 */
export interface OutboxStorage<Tx> {
  /** Only where a queue may live in the same database: lets it write in the same transaction. */
  readonly openToQueue?: OpenToQueue<Tx>
  /**
   * Adds the messages inside the caller's transaction. They exist if and only if it commits.
   *
   * For messages of one key, the order of positions is the order of commits: the key is locked
   * before its position is drawn and until the transaction ends (locks taken in sorted order).
   * A handle that is not an open transaction throws `MERSAL_NOT_A_TRANSACTION`.
   */
  save(
    tx: Tx,
    messages: readonly OutgoingMessage[],
    options?: SaveOptions,
  ): Promise<readonly SavedRow[]>
  /**
   * As `save`, for the last statement of a unit of work of the same store, but without sending it:
   * the unit of work sends it in the flight of its commit, and fails if the rows could not be
   * written. Undefined where that is not possible; then `save` is used.
   */
  saveLast?(
    tx: Tx,
    messages: readonly OutgoingMessage[],
    options?: SaveOptions,
  ): SavedLater | undefined
  /**
   * As `save`, for a transaction of somebody else, whose end nobody tells us. Called in the tick of
   * the send. What is given is stored in the transaction that is open in this very tick, or refused
   * with `MERSAL_NOT_A_TRANSACTION`: it never goes alone, nor into a later transaction of the same
   * handle. A promise of messages that are being made holds for them as well. Calls on one handle
   * keep their order. `write`: puts them elsewhere in the same transaction. Without this method,
   * `save` is used.
   */
  saveWithin?(
    tx: Tx,
    messages: readonly OutgoingMessage[] | Promise<readonly OutgoingMessage[]>,
    write?: WriteWithin,
  ): Promise<readonly SavedMessage[]>
  /**
   * Takes due rows in the order of their positions, and commits that durably before it returns. A
   * row of a key comes only together with every earlier open row of its key, so that one claim
   * holds an unbroken run from the first one. Rows held by others are passed over, never waited
   * for.
   */
  claim(request: ClaimRequest): Promise<readonly ClaimedMessage[]>
  /**
   * Records what became of claimed messages. Each change is fenced by position and token: a former
   * owner changes nothing and is counted as stale. Repeating a settlement is harmless.
   *
   * All of them or none: a call that throws has changed nothing. If the storage itself refused one
   * and would again (a constraint, a missing right), the `MersalError` has `refused: true` in its
   * details; the relay then settles one by one, so that one refusal holds back nothing else.
   */
  settle(settlements: readonly Settlement[]): Promise<SettleResult>
  /**
   * Lets these claims hold for `claimMs` from now on, fenced as a settlement: a former owner
   * changes nothing. Durable before it returns. Optional; without it a message that is longer on
   * its way than its claim holds is published again.
   */
  renew?(claims: readonly Claim[], options: { readonly claimMs: number }): Promise<void>
  /**
   * Removes kept rows whose retention is over, at most `limit` of them; returns how many.
   * `longerMs`: they are kept longer by this, because the clock has been set forward.
   */
  prune(options: { readonly limit: number; readonly longerMs?: number }): Promise<number>
  /** Optional; without it a clock that is set back holds up messages until it has caught up. */
  readonly clock?: StorageClock
  /** Optional; without it a delayed message leaves with the poll that follows its time. */
  readonly waiting?: WaitingRows<Tx>
}

/**
 * What became of a wish to take a delayed message back.
 *
 * - `cancelled`: it is gone with this transaction, and never leaves if that commits.
 * - `gone`: a relay has taken it. It was published, or may still be.
 * - `unknown`: the outbox holds no delayed message with this id. It was published or given up long
 *   ago, it was cancelled before, it had no delay, or there never was one.
 */
export type Cancellation = 'cancelled' | 'gone' | 'unknown'

/** The rows that wait for the delay of their senders. */
export interface WaitingRows<Tx> {
  /**
   * Those whose time is still to come, the earliest first, at most `limit`. Must cost little,
   * however many rows wait. A time that has come is never reported, whether its row could be
   * claimed or not.
   */
  upcoming(options: { readonly limit: number }): Promise<readonly Upcoming[]>
  /**
   * Removes the delayed row of this message inside the caller's transaction, unless a relay has
   * ever taken it. Until the transaction ends no claim takes the row, and no claim is held up by
   * it. After a rollback it waits as before. A row that is just being claimed is waited for. Must
   * cost little, however many rows wait.
   *
   * Called in the tick of the wish, as `saveWithin`: a handle that is no open transaction throws
   * `MERSAL_NOT_A_TRANSACTION`, and nothing is removed alone. Optional; without it no message can
   * be cancelled.
   */
  cancel?(tx: Tx, id: string): Promise<Cancellation>
}

/** A row that waits for the delay of its sender. */
export interface Upcoming {
  readonly position: bigint
  /** Milliseconds until it falls due, by the clock of the storage. Not rounded down. */
  readonly inMs: number
}

/**
 * What may be done within a transaction of somebody else. The first statement must be sent in the
 * tick of the call.
 */
export interface Within {
  readonly run: RunStatement
  readonly save: (messages: readonly OutgoingMessage[]) => Promise<readonly SavedRow[]>
}

export type WriteWithin = (
  within: Within,
  messages: readonly OutgoingMessage[],
) => Promise<readonly SavedMessage[]>

/** What a storage is asked for when it saves messages. */
export interface SaveOptions {
  /**
   * Asks that the rows be *born claimed* with this token for `graceMs`, so that the writer itself
   * can publish them after its commit. The storage declines (per row) when an open row of the same
   * key exists, when the message is delayed, or when the commit would not be durable. Default: the
   * rows are born free.
   */
  readonly express?: { readonly token: string; readonly graceMs: number }
}

/** Resolves before the unit of work does, if that commits. */
export interface SavedLater {
  readonly saved: Promise<readonly WrittenRow[]>
}

/**
 * Where a saved message is.
 *
 * - `row`: in the outbox, free to be claimed.
 * - `born-claimed`: in the outbox, claimed with the token that was asked for.
 * - `in-queue`: straight in the queue of its destination, with no row and no work for a relay.
 */
export type SavedMessage = SavedRow | { readonly kind: 'in-queue' }

/** A message that was saved in the outbox. */
export interface SavedRow {
  readonly kind: 'row' | 'born-claimed'
  readonly position: bigint
}

/** As `SavedRow`. The position of a row that is free may be left out, since nobody needs it. */
export type WrittenRow =
  | { readonly kind: 'born-claimed'; readonly position: bigint }
  | { readonly kind: 'row'; readonly position?: bigint }

export function savedRow(position: bigint, bornClaimed: boolean): SavedRow {
  return { kind: bornClaimed ? 'born-claimed' : 'row', position }
}

export interface ClaimRequest {
  readonly limit: number
  /** How long nobody else may take the rows, in milliseconds. */
  readonly claimMs: number
  /** Random; fences every later change of these rows. */
  readonly token: string
  /** Skip rows below this position. Only a saving: order and completeness never depend on it. */
  readonly fromPosition?: bigint
  /**
   * Look at a part of the rows only. A saving as `fromPosition`: a storage may look at all of them.
   */
  readonly stretch?: Stretch
  /**
   * Only rows of these keys, from the first open one of each. A saving as well: a storage may
   * return others, too.
   */
  readonly keys?: readonly string[]
  /**
   * Only rows at these positions, at most 500. A saving as well. Of a key they come as ever:
   * together with every earlier open row, or not at all.
   */
  readonly positions?: readonly bigint[]
  /**
   * Keys of destinations (`destinationKey`) whose rows are left alone; they still hold back later
   * rows of their key.
   */
  readonly exceptDestinations?: readonly string[]
  /** Partition keys whose rows are left alone. */
  readonly exceptKeys?: readonly string[]
  /**
   * End the claim with the row that brings it to this many bytes: bodies, headers and names.
   * So a claim has at most this many bytes and one row more. Default 32 MiB.
   */
  readonly maxBytes?: number
  /**
   * A row with more bytes than this comes as `withheldBytes`, without its content. A storage that
   * cannot read rows as large as this takes a lower bound. Default 64 MiB.
   */
  readonly largestBytes?: number
  /**
   * Called before the claim resolves, for each row that the storage itself has given up, because it
   * is no message that could travel: another program wrote or changed it. The message is as much of
   * the row as can be shown.
   */
  readonly buried?: (row: ClaimedMessage, settlement: Extract<Settlement, { kind: 'dead' }>) => void
}

/** What proves that a row has been claimed. */
export interface Claim {
  readonly position: bigint
  readonly token: string
}

/** A part of the outbox, in the order of positions. */
export interface Stretch {
  /** Look at no more than about this many rows, whether they may go or not. */
  readonly rows: number
  /**
   * Called before the claim resolves, if there are rows behind the stretch: `next` is the position
   * of the first of them, `last` of the last row there is. A storage that looks at fewer rows than
   * there are must call it, or the rows behind are never found.
   */
  readonly stopped: (at: { readonly next: bigint; readonly last: bigint }) => void
}

export interface ClaimedMessage {
  readonly message: OutgoingMessage
  readonly position: bigint
  /**
   * Refusals so far, plus claims that were never given back, this one included: 1 for a first
   * claim, 0 for a message in the express lane.
   */
  readonly attempt: number
  readonly token: string
  /**
   * Bytes of a row that has more of them than the claim asked for. Its content was not read:
   * headers and body are empty, the type is shortened. Such a message is never published.
   */
  readonly withheldBytes?: number
}

/**
 * What became of a claimed message.
 *
 * - `sent`: confirmed. The row goes (or is kept for the retention of the storage). `keep: false`:
 *   it goes, and no copy is kept, because keeping one was refused.
 * - `retry`: refused. Due again after `delayMs`; the attempt stays counted.
 * - `release`: given back unharmed, due after `delayMs` (default at once); the attempt is not
 *   counted. `error`: why it was set aside; noted with the row if the storage can.
 * - `dead`: given up. `skip` moves it to the dead letters; `block-key` keeps it in its place as a
 *   dead letter that holds back its key until it is retried or discarded (unkeyed: as `skip`).
 */
export type Settlement = { readonly position: bigint; readonly token: string } & (
  | { readonly kind: 'sent'; readonly keep?: false }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly error: Error }
  | { readonly kind: 'release'; readonly delayMs?: number; readonly error?: Error }
  | {
      readonly kind: 'dead'
      readonly reason: DeadReason
      readonly error: Error
      readonly onDead: OnDead
      readonly maybePublished: boolean
    }
)

/**
 * Nobody takes a row that was set aside before this time, in milliseconds. Then it is tried again.
 */
export const SET_ASIDE_MS = 300_000

export type OnDead = 'block-key' | 'skip'

export interface SettleResult {
  /** Settlements that changed no row, because the claim had been lost or was settled before. */
  readonly stale: number
}

/**
 * A hint that there may be rows to claim; never a promise. Calls `wake` as often as it likes and
 * resolves once the signal has aborted. It opens its own connections again; the relay polls
 * besides.
 */
export type Waker = (wake: () => void, options: { readonly signal: AbortSignal }) => Promise<void>
