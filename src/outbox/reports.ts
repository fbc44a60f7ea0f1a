import { destinationKey } from '../core/messages/message.ts'
import type { ClaimedMessage, Settlement } from '../core/outbox.ts'
import { emit } from '../core/telemetry.ts'
import type { Environment } from './environment.ts'
import type { BreakerState } from './limits/breaker.ts'
import { errorFields } from '../core/errors/error-text.ts'
import { createLineLimit, type LineLimit } from './line-limit.ts'

/** What the relay tells people and programs about its changes of state. */
export interface Reports {
  /** Destinations that do not answer, and have not since that was reported. */
  readonly away: ReadonlySet<string>
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
  /** Its time was over, so it was not published. */
  readonly expired: (row: ClaimedMessage) => void
  readonly waker: (thrown: unknown) => void
  /** Tells what was left out of the log. */
  readonly close: () => void
}

const QUIET_MS = 60_000
/**
 * With thousands of destinations, at most this many lines of each kind are written in a minute, and
 * one that counts the others.
 */
const MOST_LINES = 20

type Voice = Pick<Environment, 'app' | 'logger' | 'clock'>

export function createReports(voice: Voice): Reports {
  const { app, logger, clock } = voice
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
    away,
    breaker: breakerReport(voice, away, lines),
    slowMode: slowModeReport(voice),
    refused: refusalReport(voice, lines.refused),
    dead: deathReport(voice),
    expired: expiryReport(voice),
    waker(thrown) {
      const text = 'a waker failed; the relay goes on with its other wakers and the poll timer'
      logger.warn({ app, ...errorFields(thrown) }, text)
    },
    close() {
      for (const line of Object.values(lines)) line.sum(true)
    },
  }
}

function breakerReport(
  { app, logger }: Voice,
  away: Set<string>,
  lines: { readonly away: LineLimit; readonly back: LineLimit },
): Reports['breaker'] {
  return (destination, state, error) => {
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
  }
}

function slowModeReport({ app, logger }: Voice): Reports['slowMode'] {
  return (on) => {
    if (on)
      logger.warn(
        { app },
        'a message seems to kill its relay; messages go one by one until the suspects are past',
      )
    else logger.info({ app }, 'the suspects are past; messages go in batches again')
  }
}

function refusalReport({ app, logger, clock }: Voice, lines: LineLimit): Reports['refused'] {
  const isNews = oncePerDestination(clock)
  return ({ message, attempt }, { delayMs, error }) => {
    const to = destinationKey(message.to)
    if (!isNews(to) || !lines.admit()) return
    const { id, type } = message
    const againInMs = Math.round(delayMs)
    logger.warn(
      { app, id, type, to, attempt, againInMs, ...errorFields(error) },
      'the destination refused a message; it is tried again later',
    )
  }
}

/** Remembers destinations for a minute, so that it does not grow with all there ever were. */
function oncePerDestination(clock: Voice['clock']): (to: string) => boolean {
  const toldAt = new Map<string, number>()
  return (to) => {
    const now = clock.monotonic()
    if (now - (toldAt.get(to) ?? -Infinity) < QUIET_MS) return false
    toldAt.delete(to)
    for (const [place, at] of toldAt) {
      if (now - at < QUIET_MS) break
      toldAt.delete(place)
    }
    toldAt.set(to, now)
    return true
  }
}

function deathReport({ app, logger }: Voice): Reports['dead'] {
  return ({ message, attempt }, { reason, error, onDead, maybePublished }) => {
    const to = destinationKey(message.to)
    const { id, type } = message
    emit('mersal:dead', () => ({ app, id, to, reason }))
    logger.error(
      { app, id, type, to, reason, attempt, onDead, maybePublished, ...errorFields(error) },
      'a message was given up; it is a dead letter now',
    )
  }
}

function expiryReport({ app, logger }: Voice): Reports['expired'] {
  return ({ message }) => {
    const place = destinationKey(message.to)
    const { id, type } = message
    emit('mersal:expired', () => ({ app, id, type, place, by: 'relay' }))
    logger.debug({ app, id, type, to: place }, 'a message had expired and was not published')
  }
}
