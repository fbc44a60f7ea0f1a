import type { DeadReason } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { RetryChoices } from '../../core/errors/retry-choices.ts'
import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'
import { expired } from '../../core/messages/expiry.ts'
import { isReply } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import type { Random } from '../../lib/async/clock.ts'
import type { RelaySettings } from '../options.ts'
import { retriesOfType } from '../type-retries.ts'

/** What the policy has to know besides the outcome. */
export interface Circumstances {
  readonly settings: Pick<
    RelaySettings,
    'maxAttempts' | 'retry' | 'retries' | 'breaker' | 'onDead' | 'claimMs'
  >
  /** What the user decides for this type. Default nothing. */
  readonly choices?: RetryChoices | undefined
  readonly random: Random
  /**
   * The row was born claimed: its tries are not counted, and everything but a confirm leaves it to
   * the claims.
   */
  readonly express: boolean
  /**
   * Milliseconds since the last attempt of this message that had no answer; undefined if there was
   * none.
   */
  readonly unansweredForMs: number | undefined
}

/** From outcome to settlement: the one place that decides what becomes of a published message. */
export function settlementOf(
  row: ClaimedMessage,
  outcome: PublishOutcome,
  circumstances: Circumstances,
): Settlement {
  const { position, token } = row
  switch (outcome.kind) {
    case 'confirmed':
      return { kind: 'sent', position, token }
    case 'unavailable':
    case 'unknown':
      // No refusal, so no attempt is charged. The delay keeps a flapping destination from a tight
      // loop.
      return {
        kind: 'release',
        position,
        token,
        delayMs: backoffMs(circumstances.settings.breaker, 1, circumstances.random),
      }
    case 'refused':
    default:
      return circumstances.express
        ? { kind: 'release', position, token }
        : refused(row, outcome, circumstances)
  }
}

type Refusal = Extract<PublishOutcome, { kind: 'refused' }>

type GivenUp = Pick<Refusal, 'error' | 'permanent'> & { readonly reason: DeadReason }

function refused(
  row: ClaimedMessage,
  outcome: GivenUp,
  { settings, random, unansweredForMs, choices }: Circumstances,
): Settlement {
  const { position, token } = row
  const { maxAttempts, retry } = retriesOfType(settings, row.message.type)
  // The asker has gone, and its queue with it: nobody wants the reply any more.
  if (outcome.reason === 'unroutable' && isReply(row.message))
    return { kind: 'sent', position, token, keep: false }
  const { error } = outcome
  if (!outcome.permanent && row.attempt < maxAttempts && choices?.wants(error) !== false) {
    const delayMs = choices?.delayMs(row.attempt, error) ?? backoffMs(retry, row.attempt, random)
    return { kind: 'retry', position, token, delayMs, error }
  }
  const onDead = row.message.partitionKey === undefined ? 'skip' : settings.onDead
  const restMs = unansweredForMs === undefined ? 0 : settings.claimMs - unansweredForMs
  if (onDead === 'skip' && row.message.partitionKey !== undefined && restMs > 0) {
    // A late frame of the unanswered attempt may still reach the broker. Until one claim time has
    // gone by, the row stays and holds back its key; then it gets its last try.
    return { kind: 'release', position, token, delayMs: Math.ceil(restMs) }
  }
  // Attempts above the limit are claims that were never given back: nobody knows how those ended.
  const maybePublished = unansweredForMs !== undefined || row.attempt > maxAttempts
  return {
    kind: 'dead',
    position,
    token,
    reason: outcome.reason,
    error,
    onDead,
    maybePublished,
  }
}

/**
 * For a message whose time is over. It holds back nothing: later ones of its key go on. `release`:
 * a late frame of an attempt without an answer may still reach the broker, so it waits.
 */
export function settlementOfExpired(
  row: ClaimedMessage,
  { settings, ...rest }: Circumstances & { readonly settings: Pick<RelaySettings, 'onExpired'> },
): Settlement {
  const { position, token } = row
  if (rest.express) return { kind: 'release', position, token }
  const outcome = { reason: 'expired', error: expired(row.message), permanent: true } as const
  const given = refused(row, outcome, { settings: { ...settings, onDead: 'skip' }, ...rest })
  if (given.kind !== 'dead' || settings.onExpired === 'dead-letter') return given
  // It goes as a sent one goes, and no copy is kept.
  return { kind: 'sent', position, token, keep: false }
}

/** For a row whose content was not read. */
export function tooLarge(bytes: number): Refusal {
  const error = new MersalError(
    'MERSAL_TOO_LARGE',
    `the row has ${bytes} bytes and was not read: no transport here takes as much. Its bytes are kept; put them elsewhere and send where they are`,
    { details: { bytes } },
  )
  return { kind: 'refused', reason: 'too-large', error, permanent: true }
}

/** For a message that was taken this often and never given back: given up without publishing it. */
export function killsRelay(
  row: ClaimedMessage,
  settings: RelaySettings,
): Extract<Settlement, { kind: 'dead' }> {
  const error = new MersalError(
    'MERSAL_UNKNOWN_OUTCOME',
    `this message was taken ${row.attempt - 1} times and neither confirmed nor given back: whoever publishes it seems to die. Look at its bytes, then retry or discard it`,
    { details: { id: row.message.id, attempts: row.attempt - 1 } },
  )
  const onDead = row.message.partitionKey === undefined ? 'skip' : settings.onDead
  return {
    kind: 'dead',
    position: row.position,
    token: row.token,
    reason: 'kills-relay',
    error,
    onDead,
    maybePublished: true,
  }
}
