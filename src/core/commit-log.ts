import type { Finding } from './operations.ts'
import type { ClaimedMessage } from './outbox.ts'

/**
 * The log of commits of a database, for a store that can read it. The outbox stays the truth: the
 * log only tells at once, and in the order of commits, what was written into it. What nobody reads
 * there is claimed like any other row.
 */
export interface CommitLog {
  /**
   * Makes what the log needs. Rejects with `MERSAL_STORE_UNSAFE` if this server or this role does
   * not fit.
   */
  prepare(): Promise<void>
  /**
   * Reads what is committed from now on, until the signal aborts; never rejects. One reader at a
   * time: another one waits for its turn. It connects again by itself, and meanwhile the claims do
   * all of the work.
   */
  follow(reader: LogReader, options: { readonly signal: AbortSignal }): Promise<void>
  /** How it is read at this moment, by whichever process. */
  condition(): Promise<LogCondition>
  /** Whether this server and this role fit. Changes nothing. */
  examine(): Promise<readonly Finding[]>
}

/** Takes what the log tells. */
export interface LogReader {
  /**
   * All rows of one transaction that were born claimed for the log. A promise: the next ones come
   * when it has resolved. Never throws.
   */
  committed(transaction: LoggedRows): Promise<void> | undefined
  /** Rows were committed that a claim has to find. Cheap. */
  others(): void
}

/** Rows of one transaction, born claimed. */
export interface LoggedRows {
  readonly rows: readonly ClaimedMessage[]
  /** How long nobody else may take them at least, from now on; may be negative. Milliseconds. */
  readonly leftMs: number
  /** How long that was when they were written, in milliseconds. */
  readonly graceMs: number
}

/**
 * - `off`: nobody reads the log.
 * - `starting`: a reader waits for transactions that were open when it came.
 * - `followed`: what is committed now is read.
 */
export interface LogCondition {
  readonly state: 'off' | 'starting' | 'followed'
  /** Bytes of the log that the server keeps for the reader; 0 if there is none. */
  readonly retainedBytes: number
}

/** More of either in one transaction is left to the claims, which bound what they read. */
export const MOST_LOGGED: { readonly rows: number; readonly bytes: number } = {
  rows: 500,
  bytes: 4 * 1024 * 1024,
}

/** "mersal" as bytes, and version 8: a UUID whose content its makers define. */
const PREFIX = '6d657273-616c-8'

/** The tokens of rows that are born claimed for the log are those from `least` to `most`. */
export const logTokens: { readonly least: string; readonly most: string } = {
  least: `${PREFIX}000-8000-000000000000`,
  most: `${PREFIX}fff-bfff-ffffffffffff`,
}

/** As random as `uuid`, a random one of version 4 or 7. */
export function logToken(uuid: string): string {
  return `${PREFIX}${uuid.slice(15)}`
}

export function isLogToken(token: string): boolean {
  return token.startsWith(PREFIX)
}
