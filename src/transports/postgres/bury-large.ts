import { errorText } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Reject } from '../shared/held-queue.ts'
import type { Connection } from './connection.ts'
import type { Hold } from './settler.ts'

/** Of a message that was too large to be read. */
export function tooLargeToRead(bytes: string): Reject {
  const text = `the row has ${bytes} bytes and was not read: this queue hands out no message as large. Its bytes are kept`
  const error = new MersalError('MERSAL_TOO_LARGE', text, { details: { bytes: Number(bytes) } })
  return { kind: 'reject', reason: 'too-large', error }
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
