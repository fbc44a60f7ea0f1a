import type { Settlement } from '../../core/outbox.ts'

/**
 * Messages that the broker has confirmed and whose rows are still there. When such a row falls due
 * again and this relay takes it, it is settled and not published a second time, however long
 * settling has failed.
 */
export interface Unsettled {
  note(settlement: Settlement, id: string): void
  /** The storage has recorded this settlement, or found its row taken by somebody else. */
  settled(settlement: Settlement): void
  /** Whether the broker has confirmed this message at this position. */
  has(position: bigint, id: string): boolean
}

/** The oldest are forgotten beyond this many. What is in hand is bounded by less. */
const LONGEST = 100_000

export function createUnsettled(): Unsettled {
  const rows = new Map<bigint, { readonly id: string; readonly token: string }>()
  return {
    note({ position, token }, id) {
      rows.delete(position)
      rows.set(position, { id, token })
      if (rows.size <= LONGEST) return
      const oldest = rows.keys().next()
      if (oldest.done !== true) rows.delete(oldest.value)
    },
    settled({ kind, position, token }) {
      // A later claim of the same row may have noted it again.
      if (kind === 'sent' && rows.get(position)?.token === token) rows.delete(position)
    },
    has: (position, id) => rows.size > 0 && rows.get(position)?.id === id,
  }
}
