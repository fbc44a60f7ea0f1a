import type { Finding } from '../../../core/operations.ts'
import { STEADY_MS } from '../../../core/storage-clock.ts'
import { quoteIdentifier } from '../../../sql/identifiers.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import { LONGEST_CLAIM_MS, LONGEST_RETRY_MS, waitsFinding } from '../../../sql/shared/waits.ts'
import { lawfulWait } from '../clock.ts'

/** Messages that a clock which was set back holds up. */
export async function examineWaits(own: Own, schema: string): Promise<readonly Finding[]> {
  const S = quoteIdentifier(schema)
  const { rows } = await own.run<{ late: string; ahead: string }>(
    'examining how long messages wait',
    `select count(*) filter (where o.visible_at > statement_timestamp() + ${lawfulWait('$1', '$2')})::text as late,
      count(*) filter (where o.added_at > statement_timestamp() + $3::float8 * interval '1 millisecond')::text as ahead
    from ${S}.outbox o where o.died_at is null and isfinite(o.visible_at) and isfinite(o.added_at)`,
    [LONGEST_CLAIM_MS, LONGEST_RETRY_MS, STEADY_MS],
  )
  const set = `update ${S}.outbox set visible_at = clock_timestamp() where died_at is null and (token is not null or attempts > 0 or error is not null)`
  const waits = { late: Number(rows[0]?.late ?? 0), ahead: Number(rows[0]?.ahead ?? 0) }
  return [
    waitsFinding(
      'postgres',
      waits,
      `${set} and visible_at > clock_timestamp() + interval '1 hour'`,
    ),
  ]
}
