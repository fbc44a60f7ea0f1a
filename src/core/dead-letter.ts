import type { FailedAttempt } from './errors/attempts.ts'

/** Why a message was given up. */
export type DeadReason =
  | 'refused' // the broker refused it until the attempts were used up, or for good
  | 'unroutable' // no queue takes it
  | 'too-large' // above the limit of the transport
  | 'kills-relay' // the process that publishes it dies
  | 'kills-handler' // the process that handles it dies
  | 'undecodable' // the bytes are not what the content type says
  | 'malformed' // no id or no type
  | 'unknown-type' // no handler for this type
  | 'unknown-tenant' // names no tenant, or one that the app does not have
  | 'invalid' // refused by the schema
  | 'rejected' // the handler threw reject()
  | 'transaction-ended' // the handler ended the transaction of its unit; what it had sent was not stored
  | 'handler-failed' // the handler failed until the attempts were used up
  | 'future-version' // a body of a later version than the app knows
  | 'expired' // its time was over before it was published or handled
  | 'postponed-too-long' // the handler asked for it again later until its time was up

/** Every reason: the compiler wants each of them here, and no other. */
const deadReasons: Readonly<Record<DeadReason, true>> = {
  refused: true,
  unroutable: true,
  'too-large': true,
  'kills-relay': true,
  'kills-handler': true,
  undecodable: true,
  malformed: true,
  'unknown-type': true,
  'unknown-tenant': true,
  invalid: true,
  rejected: true,
  'transaction-ended': true,
  'handler-failed': true,
  'future-version': true,
  expired: true,
  'postponed-too-long': true,
}

/** Whether a text that came from a broker is such a reason. */
export function isDeadReason(text: unknown): text is DeadReason {
  return typeof text === 'string' && Object.hasOwn(deadReasons, text)
}

/**
 * A message that was given up, with everything that is needed to understand it and to send it
 * again.
 */
export interface DeadLetter {
  /** Handle for `retry` and `discard`; unique in its store or transport. */
  readonly key: string
  readonly direction: 'outgoing' | 'incoming'
  /** Id of the message; empty when it came without one. */
  readonly id: string
  readonly type: string
  readonly headers: Readonly<Record<string, string>>
  /** The bytes as they were, never re-encoded. */
  readonly body: Uint8Array
  /** Outgoing: the key of its destination. Incoming: the name of the queue. */
  readonly place: string
  readonly partitionKey?: string
  readonly reason: DeadReason
  /**
   * The last error with its causes, at most 2,000 characters. Incoming: below it, where it was
   * thrown. Secrets are hidden.
   */
  readonly error: string
  readonly attempts: number
  /**
   * What became of each attempt, the earliest first: the first one and the newest, at most ten.
   * Empty where they are not kept.
   */
  readonly history: readonly FailedAttempt[]
  /** Milliseconds since the Unix epoch. */
  readonly diedAt: number
  /** An attempt ended without an answer, so the broker may hold it after all. */
  readonly maybePublished: boolean
  /** It still holds back the later messages of its key (`onDead: 'block-key'`). */
  readonly blocksKey: boolean
  /**
   * Set if the message is too large to be shown: it has this many bytes. They are kept, but
   * `headers` and `body` are empty here and the type is shortened.
   */
  readonly withheldBytes?: number
}

/** What becomes of a dead letter in a pass. `stop`: it stays, and the pass ends. */
export type DeadLetterFate = 'keep' | 'retry' | 'discard' | 'stop'

export interface DeadLetterPass {
  /** Asked once about each. */
  readonly decide: (letter: DeadLetter) => DeadLetterFate | Promise<DeadLetterFate>
  /** Called with the number of letters that have been retried or discarded so far. */
  readonly progress?: (changed: number) => void
}

/** Dead letters of one place, for people and tools. */
export interface DeadLetterBox {
  /**
   * Oldest first. `after` is the `key` of the last one seen. `limit` 1–1000, default 100. A page
   * may hold fewer than `limit` when its bodies are large; the end is an empty page.
   */
  list(query?: { readonly limit?: number; readonly after?: string }): Promise<readonly DeadLetter[]>
  /**
   * Puts them back, with the same message id, due at once, with no attempts used and no history.
   * Returns how many.
   */
  retry(keys: readonly string[]): Promise<number>
  /** Removes them for good. Returns how many. */
  discard(keys: readonly string[]): Promise<number>
  /**
   * One pass, oldest first, over what is there when it begins. For places that cannot be read from
   * the middle, where every `list` and `retry` is a walk from the start. If it rejects, the number
   * that `progress` was called with last has been done.
   */
  pass?(pass: DeadLetterPass): Promise<void>
}
