import { destinationKey } from '../../core/messages/message.ts'
import type { ClaimedMessage } from '../../core/outbox.ts'

/** Which destinations take long, seen from how long their rows stay in hand. */
export interface SlowDestinations {
  /** A row has been taken in hand (monotonic milliseconds). Returns where it is counted. */
  taken(row: ClaimedMessage, now: number): Place
  /** A row that was taken at `takenAt` has left. */
  gone(place: Place, takenAt: number, now: number): void
  /**
   * Destinations that take long, or did a moment ago, or have much in hand and nothing answered yet;
   * those with the most rows first.
   */
  list(now: number): readonly Held[]
  has(row: ClaimedMessage): boolean
}

export interface Held {
  readonly destination: string
  readonly rows: number
}

/** A destination is slow as soon as a row of it has been in hand for longer, until one has not. */
const SLOW_MS = 200
/** More destinations with nothing in hand are not remembered, and not for longer. */
const MOST_REMEMBERED = 1000
const REMEMBERED_MS = 5000
/**
 * While one destination is slow, another one without an answer yet counts as slow from this many
 * rows on.
 */
const MANY_ROWS = 8

/** What is known of one destination. */
export interface Place {
  readonly destination: string
  rows: number
  slow: boolean
  /** Something of it has been answered. */
  answered: boolean
  /** Something of it has been in hand since, and no row has gone since. */
  since: number
}

/**
 * `share`: rows that a destination may have in hand before its first answer without counting as
 * slow. If it could take more, it would have the whole window before it shows that it is slow.
 */
export function createSlowDestinations(share: number): SlowDestinations {
  const places = new Map<string, Place>()
  const most = Math.max(share, MANY_ROWS)

  /** Forgets what was fast long ago. Returns whether any destination is slow. */
  function judge(now: number): boolean {
    let some = false
    for (const place of places.values()) {
      if (place.rows > 0 && now - place.since > SLOW_MS) place.slow = true
      if (place.rows === 0 && now - place.since > REMEMBERED_MS) places.delete(place.destination)
      if (place.slow) some = true
    }
    return some
  }

  return {
    taken(row, now) {
      const destination = destinationKey(row.message.to)
      let place = places.get(destination)
      if (place === undefined) {
        place = { destination, rows: 0, slow: false, answered: false, since: now }
        places.set(destination, place)
      }
      if (place.rows === 0) place.since = now
      place.rows++
      return place
    },
    gone(place, takenAt, now) {
      place.rows--
      place.answered = true
      place.slow = now - takenAt > SLOW_MS
      place.since = now
      if (place.rows === 0 && places.size > MOST_REMEMBERED) places.delete(place.destination)
    },
    list(now) {
      const many = judge(now) ? MANY_ROWS : most
      return [...places.values()]
        .filter(({ slow, answered, rows }) => slow || (!answered && rows >= many))
        .sort((a, b) => b.rows - a.rows)
    },
    has: ({ message }) => places.get(destinationKey(message.to))?.slow ?? false,
  }
}
