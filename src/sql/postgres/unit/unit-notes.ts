/** A statement that a unit sends together with its commit. */
export interface LastStatement {
  readonly text: string
  readonly values: unknown[]
  /** Called after the commit. */
  readonly answered: (rows: readonly Record<string, unknown>[]) => void
}

interface Note {
  transactionId: string | undefined
  waiting: boolean
  last: LastStatement | undefined
}

/**
 * What our own statements have learnt about transactions that are still open. Holds no handle
 * longer than its owner does.
 */
export interface UnitNotes {
  /** This transaction is a unit of ours, whose end we shall see. */
  begin(tx: unknown): void
  /** `waiting`: rows were written that no express lane takes, so that a relay has to look. */
  saved(tx: unknown, transactionId: string | undefined, waiting: boolean): void
  transactionId(tx: unknown): string | undefined
  /**
   * Whether the end of the unit on this handle takes a last statement into the flight of its
   * commit.
   */
  takesLast(tx: object, does: boolean): void
  /**
   * Leaves the statement to the end of the unit. False: it does not take any, so that nothing would
   * send it.
   */
  leave(tx: unknown, last: LastStatement): boolean
  last(tx: unknown): LastStatement | undefined
  /** Whether a relay has to look after the commit of this unit; forgets it. */
  end(tx: unknown): boolean
}

/** `unseen` is called for rows in transactions of somebody else, whose commit we shall not see. */
export function unitNotes(unseen: () => void): UnitNotes {
  const notes = new WeakMap<object, Note>()
  const takers = new WeakSet<object>()
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
    takesLast: (tx, does) => void (does ? takers.add(tx) : takers.delete(tx)),
    leave(tx, last) {
      const note = noteOf(tx)
      if (note === undefined || note.last !== undefined || !takers.has(tx as object)) return false
      note.last = last
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

const isHandle = (tx: unknown): tx is object =>
  (typeof tx === 'object' || typeof tx === 'function') && tx !== null
