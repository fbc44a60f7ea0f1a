interface Note {
  transactionId: string | undefined
  waiting: boolean
}

/** What our own statements have learnt about a transaction that is still open. Holds no handle longer than its owner does. */
export interface UnitNotes {
  /** `waiting`: rows were written that no express lane takes, so that a relay has to look. */
  saved(tx: unknown, transactionId: string | undefined, waiting: boolean): void
  transactionId(tx: unknown): string | undefined
  /** Whether a relay has to look after the commit of this transaction; forgets it. */
  take(tx: unknown): boolean
}

export function unitNotes(): UnitNotes {
  const notes = new WeakMap<object, Note>()
  const noteOf = (tx: unknown): Note | undefined => (typeof tx === 'object' && tx !== null ? notes.get(tx) : undefined)
  return {
    saved(tx, transactionId, waiting) {
      if ((typeof tx !== 'object' && typeof tx !== 'function') || tx === null) return
      const note = notes.get(tx) ?? { transactionId, waiting: false }
      notes.set(tx, { transactionId: transactionId ?? note.transactionId, waiting: note.waiting || waiting })
    },
    transactionId: (tx) => noteOf(tx)?.transactionId,
    take(tx) {
      const waiting = noteOf(tx)?.waiting ?? false
      if (typeof tx === 'object' && tx !== null) notes.delete(tx)
      return waiting
    },
  }
}
