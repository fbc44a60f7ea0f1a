import { MersalError } from '../../core/errors/errors.ts'
import type { Delivery } from '../../core/transport.ts'
import { decodeHeaders } from '../../sql/headers.ts'
import { bytes, damagedHeaders } from '../../sql/shared/rows.ts'
import { setAside } from '../shared/aside.ts'
import { postponedField } from '../shared/deliver.ts'
import type { Reject } from '../shared/receiving/held-messages.ts'

/** A message of a queue in a database, as it was taken. */
export interface StoredRow {
  readonly attempts: number
  readonly id: string
  readonly type: string
  /** JSON object of texts. */
  readonly headers: string
  readonly body: Uint8Array
  /** Bytes of the row if headers and body were not read, because it is too large. */
  readonly withheldBytes: number | undefined
  /** Milliseconds since the Unix epoch. */
  readonly postponedSince: number | null
  /** It was set aside, since it could not be stored as a dead letter. */
  readonly deadReason: string | null
  readonly deadError: string | null
}

/** What the handler's side is asked; or what is to be done without asking it. */
export function storedDelivery(
  row: StoredRow,
  queue: string,
  signal: AbortSignal,
): Delivery | Reject {
  // Given up before: only its dead letter is missing.
  if (row.deadReason !== null) return setAside(row.deadReason, row.deadError)
  if (row.withheldBytes !== undefined) return tooLargeToRead(row.withheldBytes)
  const headers = decodeHeaders(row.headers)
  if (headers === undefined) return { kind: 'reject', reason: 'malformed', error: damagedHeaders() }
  const message = { id: row.id, type: row.type, headers, body: bytes(row.body) }
  return { message, queue, attempt: row.attempts, ...postponedField(row.postponedSince), signal }
}

function tooLargeToRead(size: number): Reject {
  const text = `the row has ${size} bytes and was not read: this queue hands out no message as large. Its bytes are kept`
  const error = new MersalError('MERSAL_TOO_LARGE', text, { details: { bytes: size } })
  return { kind: 'reject', reason: 'too-large', error }
}
