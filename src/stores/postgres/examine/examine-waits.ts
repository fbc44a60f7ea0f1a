import type { Finding } from '../../../core/operations.ts'
import { STEADY_MS } from '../../../core/storage-clock.ts'
import { quoteIdentifier } from '../../../sql/identifiers.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import { lawfulWait } from '../clock.ts'

/** The longest that options allow; what the relays of this schema are told is not known here. */
const LONGEST_CLAIM_MS = 3_600_000
const LONGEST_RETRY_MS = 86_400_000

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
  const subject = 'postgres waits'
  const late = Number(rows[0]?.late ?? 0)
  const ahead = Number(rows[0]?.ahead ?? 0)
  if (late + ahead === 0)
    return [
      { level: 'ok', subject, text: 'none is longer than a claim, a retry or its sender asks' },
    ]
  const set = `update ${S}.outbox set visible_at = clock_timestamp() where died_at is null and (token is not null or attempts > 0 or error is not null)`
  return [
    {
      level: 'warning',
      subject,
      text: `the clock of the server was set back: ${late} of the messages wait for longer than any claim or retry lasts, ${ahead} were added later than now`,
      remedy: `a relay puts right what it sees; for the rest, if no relay runs: ${set} and visible_at > clock_timestamp() + interval '1 hour'`,
    },
  ]
}
