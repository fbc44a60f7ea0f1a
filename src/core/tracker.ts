/**
 * Which messages a consumer has handled: the inbox. An implementation passes the tracker suite of
 * `mersal/testing`.
 */
export interface MessageTracker<Tx> {
  /**
   * Records the id inside the caller's transaction, by inserting first: a message is `duplicate`
   * only if that insert met an existing record. Any failure of the database throws; it is never
   * taken for a duplicate. Two transactions with the same id: the second one waits for the first.
   */
  track(tx: Tx, key: TrackerKey): Promise<'first' | 'duplicate'>
  /**
   * For messages that share a transaction: makes all records in one statement. Without it, each
   * record is made before its handler.
   */
  readonly many?: ManyTracker<Tx>
  /**
   * For transactions that a handler has ended in the middle of their unit. Without it, the inbox
   * takes their messages for handled.
   */
  readonly endings?: TrackedEndings<Tx>
  /** Removes records older than this, at most `limit` of them; returns how many. */
  prune(options: { readonly olderThanMs: number; readonly limit: number }): Promise<number>
  /**
   * Reads the clock of the records, in milliseconds since the Unix epoch. Without it, records are
   * removed early after that clock has been set forward.
   */
  readonly now?: () => Promise<number>
}

export interface ManyTracker<Tx> {
  /**
   * As `track`, for several ids, of which no two are the same: one answer for each, in their order.
   * Two calls with ids in common wait for each other, whatever the order of the ids, and never in a
   * circle.
   */
  track(tx: Tx, keys: TrackerKeys): Promise<readonly ('first' | 'duplicate')[]>
}

export interface TrackedEndings<Tx> {
  /** Returns the transaction that has recorded something with this handle, also when it is over. */
  recorder(tx: Tx): Recorder | undefined
  /**
   * Deletes the records that this very transaction has made, and returns how many there were: 0 if
   * it was rolled back. Records of other transactions stay. Runs in no transaction of the caller.
   */
  forget(transaction: string, keys: TrackerKeys): Promise<number>
}

export interface Recorder {
  /** Names the transaction, for `forget`. */
  readonly transaction: string
  /**
   * True if the transaction may have been committed by the work inside, although its unit has
   * failed. False if it certainly was not.
   */
  readonly suspect: boolean
}

export interface TrackerKeys {
  readonly consumer: string
  readonly messageIds: readonly string[]
}

export interface TrackerKey {
  /** Part of the key, so that copies for different consumers are different messages. */
  readonly consumer: string
  readonly messageId: string
}
