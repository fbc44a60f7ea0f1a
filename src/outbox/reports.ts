import { destinationKey } from '../core/message.ts'
import type { ClaimedMessage, Settlement } from '../core/outbox.ts'
import { emit, type Logger } from '../core/telemetry.ts'
import type { Clock } from '../lib/clock.ts'
import type { BreakerState } from './breaker.ts'
import { errorFields } from '../core/error-text.ts'

/** What the relay tells people and programs about its changes of state. */
export interface Reports {
  readonly breaker: (destination: string, state: BreakerState, error: Error | undefined) => void
  readonly slowMode: (on: boolean) => void
  /** It will be tried again. Said once a minute for each destination, since attempts may be minutes apart and the letter days away. */
  readonly refused: (row: ClaimedMessage, settlement: Extract<Settlement, { kind: 'retry' }>) => void
  readonly dead: (row: ClaimedMessage, settlement: Extract<Settlement, { kind: 'dead' }>) => void
  readonly waker: (thrown: unknown) => void
}

const QUIET_MS = 60_000

export function createReports(app: string, logger: Logger, clock: Clock): Reports {
  const toldAt = new Map<string, number>()
  /** Destinations that have been reported as away; a probe that fails is no news. */
  const away = new Set<string>()
  return {
    breaker(destination, state, error) {
      emit('mersal:breaker', () => ({ app, destination, state }))
      if (state === 'open' && !away.has(destination)) {
        away.add(destination)
        logger.warn(
          { app, destination, ...errorFields(error) },
          'the destination does not answer; its messages wait in the outbox, no attempt is charged',
        )
      } else if (state === 'closed' && away.delete(destination)) logger.info({ app, destination }, 'the destination answers again')
    },
    slowMode(on) {
      if (on) logger.warn({ app }, 'a message seems to kill its relay; messages go one by one until the suspects are past')
      else logger.info({ app }, 'the suspects are past; messages go in batches again')
    },
    refused({ message, attempt }, { delayMs, error }) {
      const to = destinationKey(message.to)
      const now = clock.monotonic()
      if (now - (toldAt.get(to) ?? -Infinity) < QUIET_MS) return
      toldAt.set(to, now)
      const fields = { app, id: message.id, type: message.type, to, attempt, againInMs: Math.round(delayMs), ...errorFields(error) }
      logger.warn(fields, 'the destination refused a message; it is tried again later')
    },
    dead({ message, attempt }, { reason, error, onDead, maybePublished }) {
      const to = destinationKey(message.to)
      emit('mersal:dead', () => ({ app, id: message.id, to, reason }))
      const fields = { app, id: message.id, type: message.type, to, reason, attempt, onDead, maybePublished, ...errorFields(error) }
      logger.error(fields, 'a message was given up; it is a dead letter now')
    },
    waker(thrown) {
      logger.warn({ app, ...errorFields(thrown) }, 'a waker failed; the relay goes on with its other wakers and the poll timer')
    },
  }
}
