import type { ClaimedMessage } from '../../core/outbox.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { inFlight } from '../../lib/async/in-flight.ts'
import { type Capacity, NO_ROOM, type Room } from '../limits/capacity.ts'
import type { Place, SlowDestinations } from '../limits/slow-destinations.ts'
import type { RelaySettings } from '../options.ts'
import { bytesOf, bytesOfAll } from './row-bytes.ts'

/** The rows that a relay holds: nobody else counts them. */
export interface InHand {
  readonly rows: number
  /** The window is used up. */
  readonly full: boolean
  /** Bytes that the next claim may bring. */
  readonly bytesLeft: number
  room(): Room
  /** Keeps room for the rows that a claim under way may bring; 0 when it is over. */
  reserve(rows: number): void
  hold(rows: readonly ClaimedMessage[]): void
  /** These rows are settled, or their claim has ended. */
  letGo(rows: readonly ClaimedMessage[]): void
  /** Whether the window has room for all of these. */
  fits(rows: readonly ClaimedMessage[]): boolean
  /** Resolves when nothing is held. */
  idle(): Promise<void>
}

export interface InHandPorts {
  readonly clock: Clock
  readonly settings: Pick<RelaySettings, 'batchSize' | 'windowBytes'>
  readonly capacity: Capacity
  readonly slow: SlowDestinations
}

interface Taken {
  readonly at: number
  readonly bytes: number
  readonly place: Place
}

export function createInHand({ clock, settings, capacity, slow }: InHandPorts): InHand {
  const { batchSize, windowBytes } = settings
  const taken = new Map<ClaimedMessage, Taken>()
  const flight = inFlight()
  let bytes = 0
  let reserved = 0

  function holdOne(row: ClaimedMessage, at: number): void {
    const size = bytesOf(row)
    bytes += size
    taken.set(row, { at, bytes: size, place: slow.taken(row, at) })
  }

  function letGoOne(row: ClaimedMessage, now: number): boolean {
    const was = taken.get(row)
    if (was === undefined) return false
    taken.delete(row)
    bytes -= was.bytes
    slow.gone(was.place, was.at, now)
    return true
  }

  return {
    get rows() {
      return flight.count
    },
    get full() {
      return !capacity.lane(flight.count, 1)
    },
    get bytesLeft() {
      return windowBytes - bytes
    },
    room() {
      // Small claims cost more than large ones, so the next one waits for half of the bytes.
      if (bytes * 2 > windowBytes) return NO_ROOM
      return { whole: capacity.next(batchSize), free: capacity.free(batchSize) }
    },
    reserve(rows) {
      reserved = rows
      capacity.holds(flight.count + reserved)
    },
    hold(rows) {
      const now = clock.monotonic()
      for (const row of rows) holdOne(row, now)
      flight.enter(rows.length)
      capacity.holds(flight.count + reserved)
    },
    letGo(rows) {
      const now = clock.monotonic()
      let gone = 0
      for (const row of rows) if (letGoOne(row, now)) gone++
      flight.leave(gone)
      capacity.holds(flight.count + reserved)
    },
    fits: (rows) =>
      capacity.lane(flight.count, rows.length) && bytes + bytesOfAll(rows) <= windowBytes,
    idle: () => flight.idle(),
  }
}
