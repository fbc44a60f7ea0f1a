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
  /** Removes records older than this, at most `limit` of them; returns how many. */
  prune(options: { readonly olderThanMs: number; readonly limit: number }): Promise<number>
}

export interface TrackerKey {
  /** Part of the key, so that copies for different consumers are different messages. */
  readonly consumer: string
  readonly messageId: string
}
