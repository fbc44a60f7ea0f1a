import { destinationKey } from '../core/messages/message.ts'
import type { ClaimedMessage, Settlement } from '../core/outbox.ts'
import { emit } from '../core/telemetry.ts'
import type { Environment } from './environment.ts'
import type { BreakerState } from './limits/breaker.ts'
import { errorFields } from '../core/errors/error-text.ts'
import { createLineLimit, type LineLimit } from './line-limit.ts'

/** What the relay tells people and programs about its changes of state. */
export interface Reports {
  readonly breaker: (destination: string, state: BreakerState, error: Error | undefined) => void
  readonly slowMode: (on: boolean) => void
  /**
   * It will be tried again. Said once a minute for each destination, since attempts may be minutes
   * apart and the letter days away.
   */
  readonly refused: (
    row: ClaimedMessage,
    settlement: Extract<Settlement, { kind: 'retry' }>,
  ) => void
  readonly dead: (row: ClaimedMessage, settlement: Extract<Settlement, { kind: 'dead' }>) => void
  readonly waker: (thrown: unknown) => void
  /** Tells what was left out of the log. */
  readonly close: () => void
}

const QUIET_MS = 60_000
/**
 * With thousands of destinations, so many lines of each kind are written in a minute, and one that
 * counts the others.
 */
const MOST_LINES = 20

export function createReports({
  app,
  logger,
  clock,
}: Pick<Environment, 'app' | 'logger' | 'clock'>): Reports {
  const toldAt = new Map<string, number>()
  /** Destinations that have been reported as away; a probe that fails is no news. */
  const away = new Set<string>()
  const limit = (what: string): LineLimit =>
    createLineLimit(clock, MOST_LINES, (leftOut) =>
      logger.warn({ app, leftOut, away: away.size }, `further lines were left out: ${what}`),
    )
  const lines = {
    away: limit('destinations that do not answer'),
    back: limit('destinations that answer again'),
    refused: limit('destinations that refused a message'),
  }
  return {
    breaker(destination, state, error) {
      emit('mersal:breaker', () => ({ app, destination, state }))
      lines.away.sum()
      lines.back.sum()
      if (state === 'open' && !away.has(destination)) {
        away.add(destination)
        const text =
          'the destination does not answer; its messages wait in the outbox, no attempt is charged'
        if (lines.away.admit()) logger.warn({ app, destination, ...errorFields(error) }, text)
      } else if (state === 'closed' && away.delete(destination) && lines.back.admit())
        logger.info({ app, destination }, 'the destination answers again')
    },
    slowMode(on) {
      if (on)
        logger.warn(
          { app },
          'a message seems to kill its relay; messages go one by one until the suspects are past',
        )
      else logger.info({ app }, 'the suspects are past; messages go in batches again')
    },
    refused({ message, attempt }, { delayMs, error }) {
      const to = destinationKey(message.to)
      const now = clock.monotonic()
      if (now - (toldAt.get(to) ?? -Infinity) < QUIET_MS) return
      // Only of the last minute, so that it does not grow with every destination there ever was.
      toldAt.delete(to)
      for (const [place, at] of toldAt) {
        if (now - at < QUIET_MS) break
        toldAt.delete(place)
      }
      toldAt.set(to, now)
      if (!lines.refused.admit()) return
      const fields = {
        app,
        id: message.id,
        type: message.type,
        to,
        attempt,
        againInMs: Math.round(delayMs),
        ...errorFields(error),
      }
      logger.warn(fields, 'the destination refused a message; it is tried again later')
    },
    dead({ message, attempt }, { reason, error, onDead, maybePublished }) {
      const to = destinationKey(message.to)
      emit('mersal:dead', () => ({ app, id: message.id, to, reason }))
      const fields = {
        app,
        id: message.id,
        type: message.type,
        to,
        reason,
        attempt,
        onDead,
        maybePublished,
        ...errorFields(error),
      }
      logger.error(fields, 'a message was given up; it is a dead letter now')
    },
    waker(thrown) {
      logger.warn(
        { app, ...errorFields(thrown) },
        'a waker failed; the relay goes on with its other wakers and the poll timer',
      )
    },
    close() {
      for (const line of Object.values(lines)) line.sum(true)
    },
  }
}
