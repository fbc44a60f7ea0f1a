import type { DeadLetterBox } from './dead-letter.ts'
import type { FailedAttempt } from './errors/attempts.ts'
import type { TrackerKey } from './tracker.ts'

/**
 * What tools for operators ask of a store, beyond counting and dead letters. Each part is optional:
 * a tool says clearly when a store leaves one out.
 */
export interface StoreOperations {
  readonly schema?: SchemaControl
  readonly pauses?: PauseBoard
  readonly kept?: KeptMessages
  /**
   * Counts by destination, and at most `keys` of the keys that have waited longest. Reads a bounded
   * number of rows.
   */
  readonly overview?: (options: { readonly keys: number }) => Promise<OutboxOverview>
  readonly examine?: () => Promise<readonly Finding[]>
  /**
   * Names of at most `limit` consumers that the inbox knows. They are the names of their queues.
   */
  readonly consumers?: (options: { readonly limit: number }) => Promise<readonly string[]>
  /**
   * What became of a message, as far as this database knows. One look at one moment. May read the
   * outbox and the dead letters as a whole.
   */
  readonly trace?: (message: TrackerKey) => Promise<MessageState>
  /**
   * Open messages that were tried in vain, in the order of the outbox. `after` is the `key` of the
   * last one seen. `limit` 1–1000, default 100. Reads the outbox until it has found them.
   */
  readonly refused?: (query?: {
    readonly limit?: number
    readonly after?: string
  }) => Promise<readonly RefusedMessage[]>
}

/** An open message that was tried in vain: it waits for another try, or is being tried again. */
export interface RefusedMessage {
  /** Names it for as long as it is open. */
  readonly key: string
  /** Id of the message. */
  readonly id: string
  readonly type: string
  /** The key of its destination. */
  readonly place: string
  readonly partitionKey?: string
  /** That count, the present one included. */
  readonly attempts: number
  /** Nobody tries it before; in milliseconds since the Unix epoch. */
  readonly dueAt: number
  /** As that of a dead letter. Empty if a program has tried it that did not keep it yet. */
  readonly history: readonly FailedAttempt[]
}

/**
 * What became of a message.
 *
 * - `waiting`: in the outbox, for its delay, its turn or another try.
 * - `sending`: a relay, or its writer, has it in hand.
 * - `dead`: given up before it was published; a dead letter of the outbox.
 * - `handled`: the consumer has handled it, in a transaction of this database.
 * - `left`: none of these. It was published, cancelled or discarded, or there never was one; and no
 *   handler on this database has handled it, or so long ago that the inbox has forgotten it.
 */
export type MessageState = 'waiting' | 'sending' | 'dead' | 'handled' | 'left'

/**
 * What tools for operators ask of a transport. Each part is optional: a tool says clearly when a
 * transport leaves one out.
 */
export interface TransportOperations {
  /** Of queues in a database. */
  readonly schema?: SchemaControl
  /** Dead letters of this queue; without a name, of every queue that it can find by itself. */
  readonly deadLetters?: (queue?: string) => DeadLetterBox
  /** Every queue that it can find by itself, and those of `names` that exist. */
  readonly queues?: (options: {
    readonly names: readonly string[]
  }) => Promise<readonly QueueOverview[]>
  /** Looks without making anything. `queues`: those that it is expected to have. */
  readonly examine?: (options: {
    readonly queues: readonly string[]
  }) => Promise<readonly Finding[]>
}

/** The tables of a store or a transport, without opening it. */
export interface SchemaControl {
  /** Shown to people, such as `postgres schema 'mersal'`. */
  readonly name: string
  /**
   * Steps that have been applied, and all that this version knows. Throws `MERSAL_SCHEMA_TOO_NEW`.
   */
  version(): Promise<SchemaVersion>
  /** Applies the missing steps, whatever the option `migrate` of the store says. */
  upgrade(): Promise<void>
  /** The steps after this version as plain SQL. */
  sql(from: number): string
}

export interface SchemaVersion {
  /** 0: there are no tables. */
  readonly current: number
  readonly newest: number
}

/**
 * What a pause holds up: all messages to one destination (`destinationKey`), or all of one
 * partition key.
 */
export interface PauseTarget {
  readonly kind: 'destination' | 'key'
  readonly name: string
}

export interface Pause extends PauseTarget {
  /** Milliseconds since the Unix epoch. */
  readonly since: number
  readonly reason: string
}

/**
 * Pauses, stored in the database. Every relay reads them before it claims, and at least once a
 * second while it has something in hand.
 */
export interface PauseBoard {
  list(): Promise<readonly Pause[]>
  /** Returns false if it was paused before; then only the reason changes. */
  pause(target: PauseTarget, reason: string): Promise<boolean>
  /** Returns false if it was not paused. Wakes the relays. */
  resume(target: PauseTarget): Promise<boolean>
}

/** Which kept messages; every condition must hold. Times are milliseconds since the Unix epoch. */
export interface KeptFilter {
  /** Confirmed at or after this time. */
  readonly since?: number
  /** Confirmed before this time. */
  readonly until?: number
  readonly type?: string
  readonly partitionKey?: string
  /** As `destinationKey` writes it. */
  readonly destination?: string
  readonly id?: string
}

/** Messages that were confirmed and kept. */
export interface KeptMessages {
  count(filter: KeptFilter): Promise<number>
  /**
   * Moves at most `limit` of them, the earliest positions first, back into the outbox, behind what
   * is open there, due at once. They keep their ids unless `newIds`. Returns how many; fewer than
   * `limit` means that none is left.
   */
  replay(
    filter: KeptFilter,
    options: { readonly limit: number; readonly newIds: boolean },
  ): Promise<number>
}

/** `OutboxStats` and more. */
export interface OutboxOverview {
  /**
   * There are more rows than are read for this: `pending` is estimated, and every other figure but
   * `dead` is of this number of rows, the oldest and the newest ones. Undefined: all rows were read.
   */
  readonly rowsRead?: number
  /** Open rows: due, claimed, waiting for a retry or a delay. Without dead letters. */
  readonly pending: number
  /** Of these, rows that a relay or a writer holds at this moment. */
  readonly claimed: number
  readonly dead: number
  /** Age of the oldest row that is due and not claimed, in milliseconds; 0 if there is none. */
  readonly oldestDueMs: number
  /** Rows that a relay may take now, as far as their own time says. */
  readonly due: number
  /** Age of the oldest open row since it was added, in milliseconds; 0 if there is none. */
  readonly oldestMs: number
  /**
   * As `oldestDueMs`, of what is neither paused nor behind an earlier message of its key: how far
   * the relays are behind.
   */
  readonly waitingMs?: number
  /** Open rows that were tried in vain and wait for another try. */
  readonly refused?: number
  /** Messages that were confirmed and kept; estimated where counting is expensive. */
  readonly kept: number
  /** Counts every message ever added, if the store knows. Differences give a rate. */
  readonly added?: number
  readonly destinations: readonly DestinationOverview[]
  readonly keys: readonly KeyOverview[]
}

export interface DestinationOverview {
  /** As `destinationKey` writes it. */
  readonly destination: string
  readonly pending: number
  readonly due: number
  readonly claimed: number
  readonly dead: number
  readonly oldestDueMs: number
  readonly oldestMs: number
  readonly waitingMs?: number
  readonly refused?: number
  /** Of one of the refused rows, where the store keeps it. */
  readonly lastError?: string
}

export interface KeyOverview {
  readonly key: string
  readonly pending: number
  readonly oldestMs: number
  /** A dead letter holds it back. */
  readonly blocked: boolean
}

/** One answer of an examination. `warning`: it works, but look at it. */
export interface Finding {
  readonly level: 'ok' | 'warning' | 'fault'
  /** What was looked at, such as `postgres version`. */
  readonly subject: string
  readonly text: string
  /** How to fix it. */
  readonly remedy?: string
}

/** A queue of consumers, as its broker sees it. */
export interface QueueOverview {
  readonly queue: string
  /** Messages that its consumers have given up. */
  readonly dead: number
  /** Messages that wait for a consumer. Those that a consumer holds may be among them. */
  readonly waiting: number
  /** Consumers at this moment, where the broker knows them. */
  readonly consumers?: number
}
