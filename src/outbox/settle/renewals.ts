import type { Claim, OutboxStorage } from '../../core/outbox.ts'
import type { Environment } from '../environment.ts'
import { type Batch, termsFrom } from '../publish/batch.ts'
import { errorFields } from '../../core/errors/error-text.ts'

/**
 * Renews the claims of messages that are still on their way, so that nobody publishes them a second
 * time meanwhile.
 */
export interface Renewals {
  /** Looks after a batch; called now and then. */
  readonly look: (batch: Batch, now: number) => void
}

export interface RenewalPorts {
  readonly environment: Pick<Environment, 'app' | 'clock' | 'logger'>
  readonly storage: Pick<OutboxStorage<never>, 'renew'>
  readonly claimMs: number
}

/**
 * The part of a claim's time after which it is renewed: well before its last part, in which nothing
 * is handed over any more.
 */
const RENEW_AFTER = 0.4

export function createRenewals({ environment, storage, claimMs }: RenewalPorts): Renewals {
  const { app, clock, logger } = environment
  const underWay = new Set<Batch>()
  let failing = false

  /** Only a transport that answers in the end is worth waiting for. */
  function isOnTheWay(batch: Batch): boolean {
    for (const run of batch.runs) if (run.unanswered > 0 && run.patient) return true
    return false
  }

  async function renew(batch: Batch): Promise<void> {
    const claims: Claim[] = []
    for (const run of batch.runs) {
      for (const row of run.rows.slice(run.next))
        if (row !== undefined) claims.push({ position: row.position, token: row.token })
    }
    underWay.add(batch)
    // From before the statement is sent, so that the row's own time is later than ours in any case.
    const startedAt = clock.monotonic()
    try {
      await storage.renew?.(claims, { claimMs })
      Object.assign(batch.terms, termsFrom(startedAt, claimMs))
      failing = false
    } catch (thrown) {
      const fields = { app, messages: claims.length, ...errorFields(thrown) }
      if (!failing)
        logger.warn(
          fields,
          'renewing the claims of messages on their way failed; it is tried again while they hold',
        )
      failing = true
    }
    underWay.delete(batch)
  }

  return {
    look(batch, now) {
      const { startedAt, keepUntil } = batch.terms
      if (
        storage.renew === undefined ||
        underWay.has(batch) ||
        now < startedAt + (keepUntil - startedAt) * RENEW_AFTER
      )
        return
      if (now < keepUntil && isOnTheWay(batch)) void renew(batch)
    },
  }
}
