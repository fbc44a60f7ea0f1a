import type { Clock } from '../../../lib/async/clock.ts'
import type { GivingUp } from '../../../lib/async/linked-abort.ts'
import { begin, isFree, type Place } from './groups.ts'
import type { Limit } from './options.ts'

/** `begins`: it counts at each of its places from now on. `later`: there is no room at `at`. */
export type Entrance =
  | { readonly kind: 'begins' }
  | { readonly kind: 'later'; readonly at: Place }
  | { readonly kind: 'stopped' }

interface Waiter {
  readonly places: readonly Place[]
  readonly until: number
  /** What it waits for. */
  at: Place
  readonly tell: (entrance: Entrance) => void
}

/**
 * How long a message waits in memory, in milliseconds. RabbitMQ takes a delivery back after 30
 * minutes, and what is in hand when a process is killed has used up a delivery.
 */
const LONGEST_WAIT_MS = 120_000

const BEGINS: Entrance = { kind: 'begins' }
const STOPPED: Entrance = { kind: 'stopped' }

/** Messages that wait for their limits, in the order in which they came. */
export class WaitingRoom {
  readonly #clock: Clock
  readonly #most: number
  readonly #waiters = new Set<Waiter>()
  /** How many wait for each limit. */
  readonly #counts = new Map<Limit, number>()
  /** How many wait for a limit, and not only for a hand. */
  #limited = 0
  #timer: { readonly at: number; readonly controller: AbortController } | undefined
  #closed = false

  constructor(clock: Clock, most: number) {
    this.#clock = clock
    this.#most = most
  }

  close(): void {
    this.#closed = true
    for (const waiter of this.#waiters) this.#dismiss(waiter, STOPPED)
    this.#timer?.controller.abort()
  }

  /** Resolves when the message may begin, or when it is known that it may not. */
  async enter(places: readonly Place[], givingUp: GivingUp): Promise<Entrance> {
    if (this.#closed || givingUp.aborted) return STOPPED
    const now = this.#clock.monotonic()
    const at = places.find((place) => place.group.waiting > 0 || !isFree(place, now))
    if (at === undefined) {
      for (const place of places) begin(place, now)
      return BEGINS
    }
    if (!this.#hasRoom(at)) return { kind: 'later', at }
    return await this.#wait(places, at, givingUp, now)
  }

  #wait(places: readonly Place[], at: Place, givingUp: GivingUp, now: number): Promise<Entrance> {
    return new Promise((resolve) => {
      const stop = (): void => this.#dismiss(waiter, STOPPED)
      const waiter: Waiter = {
        places,
        at,
        until: now + LONGEST_WAIT_MS,
        tell(entrance) {
          givingUp.forget(stop)
          resolve(entrance)
        },
      }
      this.#waiters.add(waiter)
      this.#count(at, 1)
      givingUp.follow(stop)
      this.#wakeAt(this.#nextOf(waiter, now))
    })
  }

  /** Something has ended, or its time has come: whoever can, begins. */
  look(): void {
    if (this.#waiters.size === 0) return
    const now = this.#clock.monotonic()
    let next = Number.POSITIVE_INFINITY
    for (const waiter of this.#waiters) {
      this.#try(waiter, now)
      if (this.#waiters.has(waiter)) next = Math.min(next, this.#nextOf(waiter, now))
    }
    this.#wakeAt(next)
  }

  #try(waiter: Waiter, now: number): void {
    if (waiter.until > now && !isFree(waiter.at, now)) return
    const at = waiter.places.find((place) => !isFree(place, now))
    if (at === undefined) {
      for (const place of waiter.places) begin(place, now)
      return this.#dismiss(waiter, BEGINS)
    }
    if (waiter.until <= now) return this.#dismiss(waiter, { kind: 'later', at })
    if (at === waiter.at) return
    this.#count(waiter.at, -1)
    waiter.at = at
    const hasRoom = this.#hasRoom(at)
    this.#count(at, 1)
    if (!hasRoom) this.#dismiss(waiter, { kind: 'later', at })
  }

  #hasRoom({ limit, group }: Place): boolean {
    if (group.waiting >= limit.share || (this.#counts.get(limit) ?? 0) >= limit.room) return false
    // Only those count here that wait for a limit; the others have the hands of the app.
    return limit.room === Number.POSITIVE_INFINITY || this.#limited < this.#most
  }

  #count({ limit, group }: Place, change: 1 | -1): void {
    group.waiting += change
    this.#counts.set(limit, (this.#counts.get(limit) ?? 0) + change)
    if (limit.room !== Number.POSITIVE_INFINITY) this.#limited += change
  }

  #dismiss(waiter: Waiter, entrance: Entrance): void {
    if (!this.#waiters.delete(waiter)) return
    this.#count(waiter.at, -1)
    waiter.tell(entrance)
  }

  #nextOf({ at: { group }, until }: Waiter, now: number): number {
    return group.readyAt > now ? Math.min(group.readyAt, until) : until
  }

  /** One timer for all of them. */
  #wakeAt(at: number): void {
    if (at === Number.POSITIVE_INFINITY || (this.#timer !== undefined && this.#timer.at <= at))
      return
    this.#timer?.controller.abort()
    const timer = { at, controller: new AbortController() }
    this.#timer = timer
    const { signal } = timer.controller
    void this.#clock.sleep(at - this.#clock.monotonic(), signal).then(() => {
      if (signal.aborted) return
      this.#timer = undefined
      this.look()
    })
  }
}
