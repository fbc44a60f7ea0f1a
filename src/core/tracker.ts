import { MersalError } from './errors.ts'

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
   * As `track`, for several ids, of which no two are the same: one answer for each, in their order.
   * Optional: without it `track` is called for one after the other. Two calls with ids in common
   * wait for each other, whatever the order of the ids, and never in a circle.
   */
  trackMany?(tx: Tx, keys: TrackerKeys): Promise<readonly ('first' | 'duplicate')[]>
  /** Removes records older than this, at most `limit` of them; returns how many. */
  prune(options: { readonly olderThanMs: number; readonly limit: number }): Promise<number>
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

/** Records several ids, no two of which are the same, in one statement where the tracker can; one answer for each, in their order. */
export async function trackAll<Tx>(tracker: MessageTracker<Tx>, tx: Tx, keys: TrackerKeys): Promise<readonly ('first' | 'duplicate')[]> {
  const { consumer, messageIds } = keys
  if (tracker.trackMany !== undefined) {
    const answers = await tracker.trackMany(tx, keys)
    if (answers.length === messageIds.length) return answers
    const text = `trackMany gave ${answers.length} answers for ${messageIds.length} ids: give one for each, in their order`
    throw new MersalError('MERSAL_STORE_FAILED', text)
  }
  const answers: ('first' | 'duplicate')[] = messageIds.map(() => 'duplicate')
  // In the order of the ids, so that two transactions never wait for each other in a circle.
  const order = messageIds.map((messageId, index) => ({ messageId, index })).sort((a, b) => (a.messageId < b.messageId ? -1 : 1))
  for (const { messageId, index } of order) answers[index] = await tracker.track(tx, { consumer, messageId })
  return answers
}
