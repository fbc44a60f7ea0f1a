import { CLAIM_BYTES } from '../../core/messages/bytes.ts'

/**
 * The first of these rows: until they have `CLAIM_BYTES` together, the row that reaches them
 * included.
 */
export function withinClaim<Row>(rows: readonly Row[], bytesOf: (row: Row) => number): Row[] {
  let bytes = 0
  let count = 0
  while (count < rows.length && bytes < CLAIM_BYTES) bytes += bytesOf(rows[count++] as Row)
  return rows.slice(0, count)
}
