import { bytesOf } from '../../../sql/sqlite/bytes.ts'

/** The columns of a message in `row`, without its content if that is larger than `most`. */
const shown = (row: string, most: string): string => {
  const large = `${bytesOf(row)} > ${most}`
  const short = (name: string): string =>
    `iif(${large}, substr(${name}, 1, 200), ${name}) AS ${name}`
  return `id, ${short('type')}, ${short('transport')}, kind, ${short('name')}, partition_key,
    iif(${large}, '{}', headers) AS headers, iif(${large}, x'', body) AS body, iif(${large}, ${bytesOf(row)}, NULL) AS withheld_bytes`
}

/**
 * `taken` has the head test: the first open row of the key must be takeable by this claim, else
 * rows behind a blocked one would fill the limit for ever. `gap` finds, per key, the first earlier
 * row that is not taken; rows behind it stay. Only one connection writes at a time, so nothing
 * moves meanwhile.
 */
const claimFrom = (positions: string): string => `
    WITH taken AS MATERIALIZED (
      SELECT o.position, o.partition_key, ${bytesOf('o')} AS bytes
      FROM mersal_outbox o
      WHERE o.position >= :from
        AND o.position < :upTo
        ${positions}
        AND o.visible_at <= :now
        AND (:except = '[]' OR o.transport || '/' || o.kind || '/' || o.name NOT IN (SELECT value FROM json_each(:except)))
        AND (o.partition_key IS NULL OR :exceptKeys = '[]' OR o.partition_key NOT IN (SELECT value FROM json_each(:exceptKeys)))
        AND (o.partition_key IS NULL OR (
          SELECT head.position >= :from
            AND head.visible_at <= :now
            AND (:except = '[]' OR head.transport || '/' || head.kind || '/' || head.name NOT IN (SELECT value FROM json_each(:except)))
          FROM mersal_outbox head
          WHERE head.partition_key = o.partition_key
          ORDER BY head.position
          LIMIT 1))
      ORDER BY o.position
      LIMIT :limit
    ), run AS MATERIALIZED (
      SELECT partition_key, max(position) AS last FROM taken WHERE partition_key IS NOT NULL GROUP BY partition_key
    ), gap AS MATERIALIZED (
      SELECT run.partition_key, (
        SELECT earlier.position
        FROM mersal_outbox earlier
        WHERE earlier.partition_key = run.partition_key
          AND earlier.position < run.last
          AND earlier.position NOT IN (SELECT position FROM taken)
        ORDER BY earlier.position
        LIMIT 1) AS position
      FROM run
    ), fits AS MATERIALIZED (
      SELECT position, sum(iif(bytes > :largest, 0, bytes)) OVER (ORDER BY position) - iif(bytes > :largest, 0, bytes) AS before
      FROM taken
    )
    UPDATE mersal_outbox
    SET visible_at = :until, token = :token, attempts = min(max(attempts, 0), 1000000) + 1
    WHERE position IN (
      SELECT taken.position
      FROM taken JOIN fits ON fits.position = taken.position LEFT JOIN gap ON gap.partition_key = taken.partition_key
      WHERE (gap.position IS NULL OR taken.position < gap.position) AND fits.before < :maxBytes)
    RETURNING position, attempts, ${shown('mersal_outbox', ':largest')}`

export const claim: string = claimFrom('')

/** Only rows at these positions. */
export const claimThese: string = claimFrom(
  'AND o.position IN (SELECT value FROM json_each(:positions))',
)

/** The first row behind a stretch. */
export const behind =
  'SELECT position FROM mersal_outbox WHERE position >= :from ORDER BY position LIMIT 1 OFFSET :rows'

export const last = 'SELECT max(position) AS position FROM mersal_outbox'

export const rowsOfKey =
  'SELECT position FROM mersal_outbox WHERE partition_key = :key ORDER BY position LIMIT :limit'
