/** The servers of a run, and what an independent look at them tells. */
import type { Address } from '../plan.ts'
import type { Source } from '../source.ts'

/** A message whose business row was committed, in the order of the commits. */
export interface Committed {
  readonly id: string
  readonly topic: string
  readonly key: string | undefined
  readonly digest: string
  /** Monotonic milliseconds; undefined where the database does not tell. */
  readonly at: number | undefined
}

/** What the tap holds: every copy of every message, in the order of the broker. */
export interface Arrival {
  readonly id: string
  readonly topic: string
  /** Number of the publish that brought it. */
  readonly publish: string
  readonly digest: string
  readonly note: string
}

export interface Effect {
  readonly id: string
  readonly digest: string
}

/** Everything that an independent look finds after the drain. */
export interface Truth {
  readonly committed: readonly Committed[]
  /** Ids with a business row and no outbox row in the same transaction, or the other way round. */
  readonly torn: readonly string[]
  readonly arrivals: readonly Arrival[]
  readonly effects: readonly Effect[]
  /** Ids of dead letters, of the outbox and of the consumer. */
  readonly dead: ReadonlySet<string>
  /** Claims of rows that another claim still held, and settlements by a former owner that changed a row. */
  readonly intrusions: readonly string[]
  readonly sizes: Readonly<Record<string, number>>
  readonly versions: Readonly<Record<string, string>>
  /** Texts in which no secret may be, besides the files of the run. */
  readonly texts: readonly string[]
}

export interface Waiting {
  readonly outbox: number
  /** Committed messages for the consumer that have no effect yet. */
  readonly effects: number
  readonly detail: string
}

export interface Place extends AsyncDisposable {
  readonly address: Address
  /** Secrets that must appear nowhere. */
  readonly secrets: readonly string[]
  prepare(source: Source): Promise<void>
  /** What is not done. `wiped`: messages that a fault took out of the consumer's queue. */
  waiting(wiped: ReadonlySet<string>): Promise<Waiting>
  /** Rows that these tokens hold at this moment. */
  heldBy(tokens: readonly string[]): Promise<number>
  truth(): Promise<Truth>
}
