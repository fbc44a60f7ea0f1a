interface Note {
  transactionId: string | undefined
  waiting: boolean
  /** Rows on their way to the server, with the commit behind them. */
  last: Promise<unknown> | undefined
}

/** What our own statements have learnt about transactions that are still open. Holds no handle longer than its owner does. */
export interface UnitNotes {
  /** This transaction is a unit of ours, whose end we shall see. */
  begin(tx: unknown): void
  /** `waiting`: rows were written that no express lane takes, so that a relay has to look. */
  saved(tx: unknown, transactionId: string | undefined, waiting: boolean): void
  transactionId(tx: unknown): string | undefined
  /** The statement that the commit need not wait for. False: this is no unit of ours. */
  sendLast(tx: unknown, statement: () => Promise<unknown>): boolean
  last(tx: unknown): Promise<unknown> | undefined
  /** Whether a relay has to look after the commit of this unit; forgets it. */
  end(tx: unknown): boolean
}

/** `unseen` is called for rows in transactions of somebody else, whose commit we shall not see. */
export function unitNotes(unseen: () => void): UnitNotes {
  const notes = new WeakMap<object, Note>()
  const noteOf = (tx: unknown): Note | undefined => (isHandle(tx) ? notes.get(tx) : undefined)
  return {
    begin(tx) {
      if (isHandle(tx)) notes.set(tx, { transactionId: undefined, waiting: false, last: undefined })
    },
    saved(tx, transactionId, waiting) {
      const note = noteOf(tx)
      if (note === undefined) return waiting ? unseen() : undefined
      note.transactionId = transactionId ?? note.transactionId
      note.waiting ||= waiting
    },
    transactionId: (tx) => noteOf(tx)?.transactionId,
    sendLast(tx, statement) {
      const note = noteOf(tx)
      if (note === undefined) return false
      note.last = statement()
      // The unit of work reports its failure.
      note.last.catch(() => {})
      return true
    },
    last: (tx) => noteOf(tx)?.last,
    end(tx) {
      const waiting = noteOf(tx)?.waiting ?? false
      if (isHandle(tx)) notes.delete(tx)
      return waiting
    },
  }
}

const isHandle = (tx: unknown): tx is object => (typeof tx === 'object' || typeof tx === 'function') && tx !== null
