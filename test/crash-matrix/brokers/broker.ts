import type { Copy } from '../audit.ts'
import type { Part } from '../plan.ts'

/** Names of one cell with its broker. */
export interface Names {
  readonly schema: string
  readonly queue: string
  readonly exchange: string
}

/** What a finished cell has left with its broker. */
export interface MessagesLeft {
  /** Every copy of every event, in the order of the broker. */
  readonly tap: readonly Copy[]
  readonly deadIncoming: readonly Part[]
  /** What arrived where nothing could arrive before an operator had put it right. */
  readonly nowhere: readonly Part[]
  /** Messages that somebody still holds, or that lie where nothing should. */
  readonly left: readonly string[]
}

/** A broker of the cells as the test alone sees it: a plain client. */
export interface CellBroker extends AsyncDisposable {
  /** Where programs find it; empty if it is in their database. */
  readonly url: string
  readonly versions: Readonly<Record<string, string>>
  /** The queue of the consumer, and one that nobody of Mersal reads. */
  prepare(names: Names, options: { readonly migrated: boolean }): Promise<void>
  /** From now on, what could not be delivered can be. */
  putRight(names: Names): Promise<void>
  /** Dead letters of the consumer; copies of one message are one. */
  letters(names: Names): Promise<number>
  /** Messages that wait for the consumer, as far as can be seen: not those in its hands. */
  waiting(names: Names): Promise<number>
  left(names: Names): Promise<MessagesLeft>
  drop(names: Names): Promise<void>
}
