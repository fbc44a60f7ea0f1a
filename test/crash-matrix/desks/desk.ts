import type { Store } from '../../../src/core/store.ts'
import type { Transport } from '../../../src/core/transport.ts'
import type { Part, WorkerPlan } from '../plan.ts'

/** The database of a process of a cell: its store, and the business beside it. */
export interface Desk<Tx> {
  readonly store: Store<Tx>
  /** The queue in this database, for roads that go straight. */
  queue(): Transport
  /** `host`: in a transaction that the app does not own. */
  addStudent(tx: Tx, number: number, host: boolean): Promise<void>
  addEffect(tx: Tx, part: Part, message: string): Promise<void>
  isPutRight(tx: Tx): Promise<boolean>
  hasStudent(number: number): Promise<boolean>
  /** A transaction that the app does not own. */
  foreign(end: 'commit' | 'rollback', work: (tx: Tx) => Promise<void>): Promise<void>
  /** A student of this number is there. */
  isTaken(error: unknown): boolean
  close(): Promise<void>
}

export interface DeskOptions {
  readonly migrate: 'auto' | 'check'
  /** The program `mersal`, which has one pool for everything. */
  readonly program: boolean
}

/** How long confirmed messages are kept, in milliseconds. */
export const keepSentMs = ({ options }: WorkerPlan): number =>
  options.kept === true ? 3_600_000 : 0
