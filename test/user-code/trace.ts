import type { Outcome } from './outcome.ts'

/** A transaction, or a savepoint in it. */
export interface Scope {
  readonly outer: Scope | undefined
  undone: boolean
}

export interface Done {
  readonly tag: string
  readonly scope: Scope
}

/** What a program did, as it saw it. */
export interface Trace {
  readonly rows: Done[]
  readonly messages: Done[]
  /**
   * Messages that may or may not be stored: nobody waited for them. `ours`: a unit of the bus has
   * taken it, and not a transaction inside that a library has made.
   */
  readonly loose: { readonly tag: string; readonly ours: boolean }[]
  /** Rows that may or may not be stored: nobody waited for them. */
  readonly hasty: string[]
  /** Rows whose message was refused, and the program went on. */
  readonly spoiled: Done[]
  /** Transactions of somebody else, each with a row and a message of this name. */
  readonly separate: { readonly tag: string; readonly outcome: Promise<Outcome> }[]
  /** What came after the end and was taken. */
  readonly accepted: string[]
  /** Statements that end the transaction, and that nobody refused. */
  readonly unrefused: string[]
  /** The transaction was ended behind the back of the bus. */
  ended: boolean
  /** The work went on although it had been given up. */
  givenUp: boolean
  /** To be run when the transaction is over. */
  readonly late: { readonly neighbour: string | undefined; readonly run: () => Promise<void> }[]
}

export const newTrace = (): Trace => ({
  rows: [],
  messages: [],
  loose: [],
  hasty: [],
  spoiled: [],
  separate: [],
  accepted: [],
  unrefused: [],
  ended: false,
  givenUp: false,
  late: [],
})

export const isAlive = ({ scope }: Pick<Done, 'scope'>): boolean => {
  for (let each: Scope | undefined = scope; each !== undefined; each = each.outer)
    if (each.undone) return false
  return true
}
