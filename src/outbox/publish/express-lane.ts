import type { ClaimedMessage } from '../../core/outbox.ts'
import type { Dispatch } from '../claim/dispatch.ts'
import type { Environment } from '../environment.ts'
import type { ExpressOffer } from '../types.ts'
import type { Terms } from './batch.ts'

export interface ExpressPorts {
  readonly environment: Pick<Environment, 'app' | 'clock' | 'logger' | 'newToken'>
  readonly graceMs: number
  /** Whether units may use the lane now: running, not slow, not full. */
  readonly open: () => boolean
  /** Whether there is room for all of these. */
  readonly hasRoom: (rows: readonly ClaimedMessage[]) => boolean
  /** `release` leaves the rows to the claims. */
  readonly dispatch: Pick<Dispatch, 'publish' | 'release'>
}

/**
 * How long offers share a token, in milliseconds: rows of many units are then settled by one short
 * statement. Not longer: a settlement that is repeated after the database was restored must not fit
 * rows that were given the same positions again.
 */
const TOKEN_MS = 1000

export function sharedToken({
  clock,
  newToken,
}: Pick<Environment, 'clock' | 'newToken'>): () => string {
  let token = ''
  let until = -Infinity
  return () => {
    const now = clock.monotonic()
    if (now >= until) {
      token = newToken()
      until = now + TOKEN_MS
    }
    return token
  }
}

/** Lets the process that committed messages publish them from memory. The rows are born claimed. */
export function createExpressLane(ports: ExpressPorts): () => ExpressOffer | undefined {
  const { environment, graceMs, dispatch } = ports
  const { app, clock, logger } = environment
  const token = sharedToken(environment)
  return () => {
    if (!ports.open()) return undefined
    // From before the insert is sent, so that the row's own time is later than ours in any case.
    const offeredAt = clock.monotonic()
    const terms: Terms = {
      startedAt: offeredAt,
      publishUntil: offeredAt + graceMs / 2,
      keepUntil: offeredAt + graceMs,
      express: true,
    }
    let used = false
    return {
      token: token(),
      graceMs,
      dispatch(messages) {
        if (used)
          return logger.error(
            { app, messages: messages.length },
            'an express offer was used twice; the relay takes these rows later',
          )
        used = true
        if (messages.length === 0) return
        if (ports.open() && ports.hasRoom(messages)) dispatch.publish(messages, terms)
        else dispatch.release(messages, terms)
      },
      cancel() {
        used = true
      },
    }
  }
}
