import type { ClaimedMessage } from '../../core/outbox.ts'
import type { Transport } from '../../core/transport.ts'

/**
 * How many of these rows of one key may be unconfirmed at one time: one, unless the transport sends
 * several as one. The rows are those that may be handed over now.
 */
export function togetherOf({ features }: Transport, rows: readonly ClaimedMessage[]): number {
  if (features.together === undefined || rows.length < 2) return 1
  return Math.max(1, Math.min(rows.length, features.together(rows.map(({ message }) => message))))
}
