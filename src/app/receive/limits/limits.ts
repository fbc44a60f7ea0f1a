import { MersalError } from '../../../core/errors/errors.ts'
import type { Delivery, Disposition } from '../../../core/transport.ts'
import type { Clock, Random } from '../../../lib/async/clock.ts'
import type { GivingUp } from '../../../lib/async/linked-abort.ts'
import { end, Groups, laterMs, type Place } from './groups.ts'
import type { Limit } from './options.ts'
import { WaitingRoom } from './waiting-room.ts'

export interface LimitsPorts {
  readonly clock: Clock
  readonly random: Random
  readonly receive: { readonly concurrency: number; readonly limits: readonly Limit[] }
  /** The limits of each type. */
  readonly ofTypes: () => Iterable<readonly Limit[]>
}

/** A delivery that may have to wait, and what gives it up. */
export interface Candidate {
  readonly delivery: Delivery
  /** Name of the transport that it came by. */
  readonly transport: string
  /** The limits of its type. */
  readonly limits: readonly Limit[]
  readonly givingUp: GivingUp
}

/** Messages that wait in memory, for all limits of an app together, at most. */
const MOST_WAITING = 2000
/** A message of a group that cannot be counted comes again then, in milliseconds. */
const TOO_MANY_GROUPS_MS = 1000
/**
 * Of a message that has waited for a limit, and whose handler has never asked for it again: a first
 * wish in the future counts from when it is made.
 */
const NO_WISH_YET: number = Date.UTC(9999, 0, 1)

/**
 * Lets a delivery begin when every limit that it falls under has a place for it. Until then it
 * waits in memory. Where too many wait, or for too long, it goes back to the queue and comes again later,
 * charged to nobody.
 */
export class Limits {
  readonly #ports: LimitsPorts
  readonly #groups = new Map<Limit, Groups>()
  /** Of each transport, the messages that are handled. */
  readonly #hands = new Map<string, Place>()
  readonly #room: WaitingRoom
  #waiting: number | undefined

  constructor(ports: LimitsPorts) {
    this.#ports = ports
    this.#room = new WaitingRoom(ports.clock, MOST_WAITING)
  }

  /**
   * Most messages that wait in memory, beside those that are handled. 0: there are no limits. Ask
   * for it when all handlers are known.
   */
  get waiting(): number {
    this.#waiting ??= this.#countWaiting()
    return this.#waiting
  }

  #countWaiting(): number {
    const all = [this.#ports.receive.limits, ...this.#ports.ofTypes()].flat()
    return Math.min(
      all.reduce((sum, { room }) => sum + room, 0),
      MOST_WAITING,
    )
  }

  /** What waits goes back to its queue at once, and so does what comes. */
  stop(): void {
    this.#room.close()
  }

  /** The work, when it may begin; else what becomes of the delivery instead. */
  async within(candidate: Candidate, work: () => Promise<Disposition>): Promise<Disposition> {
    if (this.waiting === 0) return work()
    const { clock } = this.#ports
    const places = this.#placesOf(candidate, clock.monotonic())
    if (places === undefined) return this.#later(candidate, TOO_MANY_GROUPS_MS)
    const found = await this.#room.enter(places, candidate.givingUp)
    if (found.kind === 'stopped') return { kind: 'release' }
    if (found.kind === 'later')
      return this.#later(candidate, laterMs(found.at, clock.monotonic(), this.#ports.random))
    const began = clock.monotonic()
    try {
      return await work()
    } finally {
      for (const place of places) end(place, clock.monotonic() - began)
      this.#room.look()
    }
  }

  /**
   * Undefined if one of its groups cannot be counted. Its hand comes last: it is the shortest wait.
   */
  #placesOf({ delivery, transport, limits }: Candidate, now: number): Place[] | undefined {
    const places: Place[] = []
    for (const limit of [...this.#ports.receive.limits, ...limits]) {
      const name = limit.groupOf(delivery.message)
      if (name === undefined) continue
      const group = this.#groupsOf(limit).get(name, now)
      if (group === undefined) return undefined
      places.push({ limit, group })
    }
    places.push(this.#handOf(transport))
    return places
  }

  #groupsOf(limit: Limit): Groups {
    const known = this.#groups.get(limit)
    if (known !== undefined) return known
    const groups = new Groups()
    this.#groups.set(limit, groups)
    return groups
  }

  #handOf(transport: string): Place {
    const known = this.#hands.get(transport)
    if (known !== undefined) return known
    const { concurrency } = this.#ports.receive
    const room = Number.POSITIVE_INFINITY
    const limit = { concurrency, intervalMs: 0, groupOf: () => transport, share: room, room }
    const group = new Groups().get(transport, 0) as Place['group']
    const place = { limit, group }
    this.#hands.set(transport, place)
    return place
  }

  #later({ delivery }: Candidate, delayMs: number): Disposition {
    const { postponedSince = NO_WISH_YET } = delivery
    const error = new MersalError(
      'MERSAL_LIMITED',
      `more messages like this one came than its limit lets begin; it comes again in ${Math.ceil(delayMs)} ms`,
    )
    return { kind: 'retry', delayMs, postponedSince, error }
  }
}
