import type { Store } from '../../../src/core/store.ts'
import type { Transport } from '../../../src/core/transport.ts'

/** What a process works with: the adapters of its build, and statements of its own. */
export interface Desk<Tx> extends AsyncDisposable {
  readonly store: Store<Tx>
  readonly transport: Transport
  /** Draws the next number of the line; until the transaction ends, nobody else does. */
  draw(tx: Tx, line: string): Promise<number>
  /** Of handling a message. Its table takes any number of them. */
  effect(tx: Tx, line: string, n: number): Promise<void>
  /** A transaction that Mersal does not own. */
  foreign(work: (tx: Tx) => Promise<void>): Promise<void>
}

/** Of the stores. */
export const KEEP_SENT_MS: number = 86_400_000
