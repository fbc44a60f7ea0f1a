import { errorText } from '../../core/errors/error-text.ts'
import type { Delivery } from '../../core/transport.ts'
import type { Reject } from '../shared/receiving/held-messages.ts'
import type { Connection } from './connection.ts'
import type { Hold } from '../queues/settler.ts'
import { storedDelivery, type StoredRow } from '../queues/stored-delivery.ts'

/** A row as a fetch answers it. */
export interface TakenRow {
  readonly position: string
  readonly attempts: number
  readonly id: string
  readonly type: string
  readonly headers: string
  readonly body: Uint8Array
  readonly bytes: string
  /** Set if headers and body were not read, because the row is too large. */
  readonly withheld_bytes: string | null
  readonly postponed_since: string | null
  /** The proof that the row is still ours. */
  readonly token: string
  /** It was set aside, since it could not be stored as a dead letter. */
  readonly dead_reason: string | null
  readonly dead_error: string | null
}

export interface Bounds {
  readonly limit: number
  readonly token: string
  readonly bytes: number
}

/** As the statement counts them: what was not read costs nothing. */
export function bytesOf(rows: readonly TakenRow[]): number {
  return rows.reduce((sum, row) => sum + (row.withheld_bytes === null ? Number(row.bytes) : 0), 0)
}

/** What the handler's side is asked; or what is to be done without asking it. */
export function deliveryOf(row: TakenRow, queue: string, signal: AbortSignal): Delivery | Reject {
  const since = row.postponed_since
  const stored: StoredRow = {
    ...row,
    withheldBytes: row.withheld_bytes === null ? undefined : Number(row.withheld_bytes),
    postponedSince: since === null ? null : Number(since),
    deadReason: row.dead_reason,
    deadError: row.dead_error,
  }
  return storedDelivery(stored, queue, signal)
}

/** The largest row that PostgreSQL can hold is copied in less. */
const LONGEST_MS = 600_000

/**
 * Moves a message that is too large to be read to the dead letters. Returns what comes next of its
 * key.
 */
export async function buryLarge(
  connection: Connection,
  queue: number,
  { position, token }: Hold,
  { reason, error }: Reject,
): Promise<readonly string[]> {
  const values = [queue, [position], [token], [reason], [errorText(error)]]
  return await connection.own.transaction(
    'giving up a message that is too large',
    async (query) => {
      await query.script(`set local statement_timeout = ${LONGEST_MS}`)
      const { rows } = await query.within<{ position: string }>(
        LONGEST_MS,
        connection.sql.reject,
        values,
      )
      return rows.map((row) => row.position)
    },
  )
}
