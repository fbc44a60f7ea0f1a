import { destinationKey } from '../../core/messages/message.ts'
import type { ClaimedMessage } from '../../core/outbox.ts'
import type { Clock } from '../../lib/async/clock.ts'

/** The rows that a relay holds, counted in rows and in bytes, and which destinations take long. */
export interface InHand {
  readonly rows: number
  readonly bytes: number
  add(rows: readonly ClaimedMessage[]): void
  remove(row: ClaimedMessage): void
  /** Destinations that take long, or did a moment ago, those with the most rows first. */
  slow(): readonly Held[]
  isSlow(row: ClaimedMessage): boolean
}

export interface Held {
  readonly destination: string
  readonly rows: number
}

/** What an object of a message takes beside its texts and its body, roughly. */
const BESIDE_TEXTS = 512
/** A destination is slow as soon as a row of it has been in hand for longer, until one has not. */
const SLOW_MS = 200
/** More destinations with nothing in hand are not remembered, and not for longer. */
const MOST_REMEMBERED = 1000
const REMEMBERED_MS = 5000
/**
 * A destination of which nothing has been answered yet counts as slow with so many rows, while
 * another one is slow.
 */
const MANY_ROWS = 8

/**
 * Bytes that a row takes in memory, roughly. Never fewer than those of its body, its headers and
 * its names.
 */
export function bytesOf({ message }: ClaimedMessage): number {
  let bytes =
    BESIDE_TEXTS + message.body.byteLength + 3 * (message.type.length + message.to.name.length)
  for (const name in message.headers)
    bytes += 3 * (name.length + (message.headers[name] as string).length)
  return bytes
}

interface Place {
  readonly destination: string
  rows: number
  slow: boolean
  /** Something of it has been answered. */
  answered: boolean
  /** Something of it has been in hand since, and no row has gone since. */
  since: number
}

interface Taken {
  readonly at: number
  readonly bytes: number
  readonly place: Place
}

export function createInHand(clock: Clock): InHand {
  const places = new Map<string, Place>()
  const taken = new Map<ClaimedMessage, Taken>()
  let bytes = 0

  function placeOf(row: ClaimedMessage, now: number): Place {
    const destination = destinationKey(row.message.to)
    let place = places.get(destination)
    if (place === undefined)
      places.set(
        destination,
        (place = { destination, rows: 0, slow: false, answered: false, since: now }),
      )
    if (place.rows === 0) place.since = now
    return place
  }

  function forget(place: Place): void {
    if (place.rows === 0 && places.size > MOST_REMEMBERED) places.delete(place.destination)
  }

  return {
    get rows() {
      return taken.size
    },
    get bytes() {
      return bytes
    },
    add(rows) {
      const at = clock.monotonic()
      for (const row of rows) {
        const place = placeOf(row, at)
        place.rows++
        const size = bytesOf(row)
        bytes += size
        taken.set(row, { at, bytes: size, place })
      }
    },
    remove(row) {
      const was = taken.get(row)
      if (was === undefined) return
      const now = clock.monotonic()
      taken.delete(row)
      bytes -= was.bytes
      was.place.rows--
      was.place.answered = true
      was.place.slow = now - was.at > SLOW_MS
      was.place.since = now
      forget(was.place)
    },
    slow() {
      const now = clock.monotonic()
      let some = false
      for (const place of places.values()) {
        if (place.rows > 0 && now - place.since > SLOW_MS) place.slow = true
        if (place.rows === 0 && now - place.since > REMEMBERED_MS) places.delete(place.destination)
        if (place.slow) some = true
      }
      if (!some) return []
      const all = [...places.values()].filter(
        ({ slow, answered, rows }) => slow || (!answered && rows >= MANY_ROWS),
      )
      return all.sort((a, b) => b.rows - a.rows)
    },
    isSlow: ({ message }) => places.get(destinationKey(message.to))?.slow ?? false,
  }
}
