/** The servers of a run, and what an independent look at them tells. */
import type { SchemaControl } from '../../../src/core/operations.ts'
import type { Store } from '../../../src/core/store.ts'
import type { Address } from '../plan.ts'
import type { Adapters, Source } from '../source.ts'
import type { FeatureTruth } from '../features/tables.ts'
import type { Letter } from './letters.ts'

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
  /** What the second workload has left, where it was part of the run. */
  readonly features?: FeatureTruth
  readonly committed: readonly Committed[]
  /** Ids with a business row and no outbox row in the same transaction, or the other way round. */
  readonly torn: readonly string[]
  readonly arrivals: readonly Arrival[]
  readonly effects: readonly Effect[]
  /** Ids of dead letters, of the outbox and of the consumer. */
  readonly dead: ReadonlySet<string>
  /**
   * Claims of rows that another claim still held, and settlements by a former owner that changed a
   * row.
   */
  readonly intrusions: readonly string[]
  readonly sizes: Readonly<Record<string, number>>
  readonly versions: Readonly<Record<string, string>>
  /** Gauges of the outbox that say something else than plain SQL. */
  readonly gauges: readonly string[]
  /** Texts in which no secret may be, besides the files of the run. */
  readonly texts: readonly string[]
}

export interface Waiting {
  readonly outbox: number
  /** Committed messages for the consumer that have no effect yet. */
  readonly effects: number
  readonly detail: string
}

/** Through the tool for operators that the store has. */
export async function upgrade(control: SchemaControl | undefined): Promise<string> {
  if (control === undefined) throw new Error('this store has no schema control')
  const { current, newest } = await control.version()
  await control.upgrade()
  return `tables ${current} to ${newest}`
}

/**
 * What the shipped gauges of `/metrics` say about the outbox, against numbers that plain SQL gave.
 */
export async function wrongGauges<Tx>(
  store: Store<Tx>,
  { metrics }: Source,
  expected: { readonly pending: number; readonly dead: number },
): Promise<string[]> {
  const overview = await store.operations?.overview?.({ keys: 1 })
  if (overview === undefined) throw new Error('this store has no overview')
  const gauges = metrics.outboxMetrics(overview, [])
  return Object.entries(expected).flatMap(([name, value]) => {
    const said = gauges.find((metric) => metric.name === `mersal_outbox_${name}`)?.samples[0]?.value
    return said === value ? [] : [`mersal_outbox_${name} is ${said}, but there are ${value}`]
  })
}

export interface Place extends AsyncDisposable {
  readonly address: Address
  /** Secrets that must appear nowhere. */
  readonly secrets: readonly string[]
  prepare(adapters: Adapters): Promise<void>
  /**
   * Brings the tables to the version of this source; tells from which version they came, and to
   * which.
   */
  migrate(source: Source): Promise<string>
  /** What is not done. `wiped`: messages that a fault took out of the consumer's queue. */
  waiting(wiped: ReadonlySet<string>): Promise<Waiting>
  /** Rows that these tokens hold at this moment. */
  heldBy(tokens: readonly string[]): Promise<number>
  truth(source: Source): Promise<Truth>
  /** How many of these messages of the outbox are dead letters. */
  deadOf(ids: readonly string[]): Promise<number>
  /** Those of these messages that are dead letters of the outbox, by plain SQL. */
  letters(ids: readonly string[]): Promise<readonly Letter[]>
  /** As an operator discards dead letters that he has looked at. Returns how many. */
  discard(source: Source, ids: readonly string[]): Promise<number>
  /** These rows are due now. */
  makeDue(ids: readonly string[]): Promise<void>
  /**
   * The database refuses whatever is written to the dead letters of the outbox, or marks a row as
   * one.
   */
  refuseDead(refuses: boolean): Promise<void>
  /** The second workload, where the place has it. */
  readonly features?: {
    /** Its tables, those of sagas and requests, and its queue. */
    prepare(adapters: Adapters): Promise<void>
    truth(): Promise<FeatureTruth>
  }
}
