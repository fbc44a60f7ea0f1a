import type { UnitOfWork } from '../../core/store.ts'

/** What is noted of units: whether rows were written that only a relay moves. */
export interface UnitRows<Tx> {
  /** This transaction is a unit of ours, whose end we shall see. */
  begin(tx: Tx): void
  /** Whether a relay has to look after the commit; forgets the unit. */
  end(tx: Tx | undefined): boolean
}

/** Rings for the relays after each commit of a unit that has left them work. */
export function ringing<Tx>(
  unit: UnitOfWork<Tx>,
  rows: UnitRows<Tx>,
  ring: () => void,
): UnitOfWork<Tx> {
  return async (work, options) => {
    let handle: Tx | undefined
    let committed = false
    try {
      const result = await unit((tx, repeat) => {
        // Run again, perhaps on another connection: what was noted of the first one is over.
        rows.end(handle)
        handle = tx
        rows.begin(tx)
        return work(tx, repeat)
      }, options)
      committed = true
      return result
    } finally {
      if (rows.end(handle) && committed) ring()
    }
  }
}
