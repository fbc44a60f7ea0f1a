import type { LawfulWaits, StorageClock } from '../../core/storage-clock.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import { storeError } from '../../sql/sqlite/connection/failure.ts'
import { NEVER } from './schema.ts'

/** Rows put right by one transaction. */
const MOST_ROWS = 5000

/**
 * Of both ends of the table: what was added last, and what has waited longest, are the first to
 * show it.
 */
const newest = `
  SELECT max(added) AS added FROM (
    SELECT * FROM (SELECT created_at AS added FROM mersal_outbox WHERE visible_at < ${NEVER} ORDER BY position DESC LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT created_at FROM mersal_outbox WHERE visible_at < ${NEVER} ORDER BY position LIMIT 1))`

/**
 * A row that was in hand has a token or attempts other than 0; the delay of any other is its
 * sender's.
 */
const lawful = 'CASE WHEN token IS NOT NULL THEN :claimMs WHEN attempts <> 0 THEN :retryMs END'

/**
 * Rows that wait for longer than `:claimMs` or `:retryMs`, and rows that were added after
 * `:latest`.
 */
export const lateWaits: string = `
  SELECT count(*) FILTER (WHERE visible_at > :now + ${lawful}) AS late,
    count(*) FILTER (WHERE created_at > :latest) AS ahead
  FROM mersal_outbox WHERE visible_at < ${NEVER}`

const most = `coalesce(${lawful}, visible_at - created_at)`

const lawfully = `CASE WHEN visible_at > :now + ${most} THEN :now + min(${most}, max(visible_at - :now - :backMs, 0)) ELSE visible_at END`

/**
 * As on PostgreSQL: what waits unlawfully long moves to where it was, and what was added later than
 * now begins now.
 */
const recover = `
  UPDATE mersal_outbox SET
    created_at = min(created_at, :now),
    visible_at = ${lawfully},
    due_at = CASE WHEN due_at > :now THEN ${lawfully} ELSE due_at END
  WHERE position IN (
    SELECT position FROM mersal_outbox
    WHERE visible_at < ${NEVER} AND (created_at > :now OR visible_at > :now + ${lawful})
    ORDER BY position LIMIT ${MOST_ROWS})`

/** The clock of the machine, which all processes with this file share. */
export function sqliteClock(connection: Connection): StorageClock {
  const { clock } = connection.settings
  return {
    async read() {
      await connection.open()
      const added = connection.peek((handle) => handle.get<{ added: number | null }>(newest)?.added)
      const now = clock.now()
      // A file that is busy at this moment is looked at the next time.
      return { now, ahead: Math.max(0, (added ?? now) - now) }
    },
    async recover({ backMs, claimMs, retryMs }: LawfulWaits) {
      const limits = {
        claimMs: Math.ceil(claimMs),
        retryMs: Math.ceil(retryMs),
        backMs: Math.floor(backMs),
      }
      for (let changed = 0; ; ) {
        const done = await connection.write((handle) => {
          try {
            return handle.run(recover, { ...limits, now: Math.ceil(clock.now()) }).changes
          } catch (error) {
            throw storeError('putting waits right', error)
          }
        })
        changed += done
        if (done < MOST_ROWS) return changed
      }
    },
  }
}
