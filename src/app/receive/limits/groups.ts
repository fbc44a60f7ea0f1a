import type { Limit } from './options.ts'

/** What a limit counts together. Times are monotonic, in milliseconds. */
export interface Group {
  running: number
  /** Messages that wait in memory because of this group. */
  waiting: number
  /** The next message may begin then. */
  readyAt: number
  /** What was given back to the queue comes again until then. */
  laterUntil: number
  /** How long a message is in hand, on average. */
  meanMs: number
}

/** Where one message counts. */
export interface Place {
  readonly limit: Limit
  readonly group: Group
}

/** So much of a rate may be made up for, since a timer is late. In milliseconds. */
const SLACK_MS = 50
const FIRST_MEAN_MS = 50
const LEAST_LATER_MS = 1000
/** Of a rate it is known when a message can begin, and otherwise only guessed. */
const MOST_LATER_MS = { rate: 600_000, guess: 60_000 }
const MOST_GROUPS = 100_000

export function isFree({ limit, group }: Place, now: number): boolean {
  return group.running < limit.concurrency && group.readyAt <= now
}

export function begin({ limit, group }: Place, now: number): void {
  group.running++
  if (limit.intervalMs > 0)
    group.readyAt = Math.max(group.readyAt, now - SLACK_MS) + limit.intervalMs
}

export function end({ group }: Place, tookMs: number): void {
  group.running--
  group.meanMs = group.meanMs * 0.8 + tookMs * 0.2
}

/**
 * How long a message that finds no room stays in the queue, in milliseconds: until those before it
 * have probably begun.
 */
export function laterMs({ limit, group }: Place, now: number, random: () => number): number {
  const { intervalMs, concurrency } = limit
  const stepMs = Math.max(intervalMs, group.meanMs / concurrency)
  const mostMs = intervalMs > 0 ? MOST_LATER_MS.rate : MOST_LATER_MS.guess
  const begins = Math.max(group.laterUntil, now + group.waiting * stepMs) + stepMs
  group.laterUntil = Math.min(begins, now + mostMs)
  if (begins > now + mostMs) return mostMs * (0.5 + random() / 2)
  return Math.max(begins - now, LEAST_LATER_MS)
}

/** The groups of one limit. Those of which nothing is left to be known are forgotten. */
export class Groups {
  readonly #groups = new Map<string, Group>()
  #sweepAt = 1000
  #sweptAt = Number.NEGATIVE_INFINITY

  get size(): number {
    return this.#groups.size
  }

  /** Undefined if there are too many of them. */
  get(name: string, now: number): Group | undefined {
    const known = this.#groups.get(name)
    if (known !== undefined) return known
    if (this.#groups.size >= this.#sweepAt) this.#sweep(now)
    if (this.#groups.size >= MOST_GROUPS) return undefined
    const readyAt = Number.NEGATIVE_INFINITY
    const group = { running: 0, waiting: 0, readyAt, laterUntil: 0, meanMs: FIRST_MEAN_MS }
    this.#groups.set(name, group)
    return group
  }

  /** Costs as much as there are, so it waits until there are twice as many, and for a second. */
  #sweep(now: number): void {
    if (now - this.#sweptAt < 1000) return
    this.#sweptAt = now
    for (const [name, { running, waiting, readyAt, laterUntil }] of this.#groups)
      if (running + waiting === 0 && Math.max(readyAt, laterUntil) <= now) this.#groups.delete(name)
    this.#sweepAt = Math.min(Math.max(1000, this.#groups.size * 2), MOST_GROUPS)
  }
}
