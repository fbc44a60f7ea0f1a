import type { Finding } from '../../core/operations.ts'

/** The longest that options allow; what the relays of a database are told is not known to it. */
export const LONGEST_CLAIM_MS = 3_600_000
export const LONGEST_RETRY_MS = 86_400_000

export interface Waits {
  /** Messages that wait for longer than any claim or retry lasts. */
  readonly late: number
  /** Messages that were added later than now. */
  readonly ahead: number
}

/**
 * Whether messages are held up by a clock that was set back. `statement` makes those due that were
 * in the hands of a relay.
 */
export function waitsFinding(store: string, { late, ahead }: Waits, statement: string): Finding {
  const subject = `${store} waits`
  if (late + ahead === 0)
    return {
      level: 'ok',
      subject,
      text: 'none is longer than a claim, a retry or its sender asks',
    }
  return {
    level: 'warning',
    subject,
    text: `the clock was set back: ${late} of the messages wait for longer than any claim or retry lasts, ${ahead} were added later than now`,
    remedy: `a relay puts right what it sees; for the rest, if no relay runs: ${statement}`,
  }
}
