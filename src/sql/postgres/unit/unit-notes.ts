import type { Bound } from './flight/wire.ts'

/** Statements that a unit sends together with its commit. */
export interface LastStatements {
  readonly statements: readonly Bound[]
  /** They write rows that a relay has to look for. */
  readonly rings: boolean
  /**
   * Called after the commit, with the rows of those that return any, as text. `rung`: the relays
   * were told behind the commit.
   */
  readonly answered: (rows: readonly (readonly (string | null)[])[], rung: boolean) => void
}

interface Note {
  transactionId: string | undefined
  waiting: boolean
  takesLast: boolean
  last: LastStatements | undefined
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
  /** The end of this unit takes last statements into the flight of its commit. */
  takeLast(tx: object): void
  /**
   * Leaves the statements to the end of the unit. False: it does not take any, so that nothing would
   * send them.
   */
  leave(tx: unknown, last: LastStatements): boolean
  last(tx: unknown): LastStatements | undefined
  /** Whether a relay has to look after the commit of this unit; forgets it. */
  end(tx: unknown): boolean
}

/** `unseen` is called for rows in transactions of somebody else, whose commit we shall not see. */
export function unitNotes(unseen: () => void): UnitNotes {
  const notes = new WeakMap<object, Note>()
  const noteOf = (tx: unknown): Note | undefined => (isHandle(tx) ? notes.get(tx) : undefined)
  return {
    begin(tx) {
      if (isHandle(tx) && notes.get(tx)?.takesLast !== true) notes.set(tx, newNote())
    },
    saved(tx, transactionId, waiting) {
      const note = noteOf(tx)
      if (note === undefined) return waiting ? unseen() : undefined
      note.transactionId = transactionId ?? note.transactionId
      note.waiting ||= waiting
    },
    transactionId: (tx) => noteOf(tx)?.transactionId,
    takeLast: (tx) => void notes.set(tx, { ...newNote(), takesLast: true }),
    leave(tx, last) {
      const note = noteOf(tx)
      if (note?.takesLast !== true || note.last !== undefined) return false
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

const newNote = (): Note => ({
  transactionId: undefined,
  waiting: false,
  takesLast: false,
  last: undefined,
})

const isHandle = (tx: unknown): tx is object =>
  (typeof tx === 'object' || typeof tx === 'function') && tx !== null
