import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'

/** How large a row is. The length of a body is known without reading it. */
export const bytesOf = (row: string): string =>
  `(octet_length(${row}.body) + octet_length(${row}.headers) + octet_length(${row}.type))`

/** A column behind the body: of a letter that is too large, finding it would read the body. */
export const whole = (name: string): string =>
  `iif(fits.bytes > ${LARGEST_ROW_BYTES}, NULL, ${name}) AS ${name}`

/**
 * A page of dead letters, from `:after` on, at most `:limit`. Its bytes are bounded, and the
 * content of a letter that is too large is not read. `more`: the columns that only this table has.
 */
export const listing = (table: string, more: string, which = ''): string => `
    WITH sized AS MATERIALIZED (
      SELECT key, ${bytesOf(table)} AS bytes FROM ${table} WHERE key > :after ${which} ORDER BY key LIMIT :limit
    ), fits AS MATERIALIZED (
      SELECT key, bytes, sum(iif(bytes > ${LARGEST_ROW_BYTES}, 0, bytes)) OVER (ORDER BY key) - bytes AS before FROM sized
    )
    SELECT key, ${more}, reason, error, died_at, attempts, id, partition_key,
      iif(fits.bytes > ${LARGEST_ROW_BYTES}, substr(type, 1, 200), type) AS type,
      iif(fits.bytes > ${LARGEST_ROW_BYTES}, '{}', headers) AS headers,
      iif(fits.bytes > ${LARGEST_ROW_BYTES}, x'', body) AS body,
      iif(fits.bytes > ${LARGEST_ROW_BYTES}, fits.bytes, NULL) AS withheld_bytes
    FROM fits JOIN ${table} USING (key) WHERE fits.before < ${CLAIM_BYTES} ORDER BY key`
