import type { Clock, Random } from '../../src/lib/async/clock.ts'
import { seededRandom } from '../../scripts/seeded-random.ts'

/**
 * A process that can stop acting for ever, or for a while. What belongs to no process is the
 * outside world.
 */
export interface Owner {
  readonly name: string
  alive: boolean
  /** Virtual milliseconds. */
  pausedUntil: number
}

interface Event {
  at: number
  readonly tie: number
  readonly owner: Owner | undefined
  readonly run: () => void
  cancelled: boolean
}

/**
 * Virtual time: events run one after the other, in the order of their times; a seed decides
 * everything else.
 */
export interface Scheduler {
  readonly now: number
  readonly random: Random
  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number
  chance(probability: number): boolean
  after(ms: number, owner: Owner | undefined, run: () => void): () => void
  sleep(ms: number, owner?: Owner, signal?: AbortSignal): Promise<void>
  clockOf(owner: Owner, offset: number): Clock
  /** Runs events until the condition holds or virtual time has passed `until`. */
  run(until: number, done: () => boolean): Promise<void>
  /** Events that wait for this owner. */
  waitingFor(owner: Owner): number
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export function createScheduler(seed: number): Scheduler {
  const random = seededRandom(seed)
  const events: Event[] = []
  let now = 0

  function insert(event: Event): void {
    let index = events.length
    while (index > 0) {
      const before = events[index - 1] as Event
      if (before.at < event.at || (before.at === event.at && before.tie <= event.tie)) break
      index--
    }
    events.splice(index, 0, event)
  }

  function after(ms: number, owner: Owner | undefined, run: () => void): () => void {
    const event: Event = { at: now + Math.max(ms, 0), tie: random(), owner, run, cancelled: false }
    insert(event)
    return () => {
      event.cancelled = true
      const index = events.indexOf(event)
      if (index >= 0) events.splice(index, 1)
    }
  }

  function sleep(ms: number, owner?: Owner, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const aborted = (): void => {
        cancel()
        resolve()
      }
      const cancel = after(ms, owner, () => {
        signal?.removeEventListener('abort', aborted)
        resolve()
      })
      signal?.addEventListener('abort', aborted, { once: true })
    })
  }

  async function run(until: number, done: () => boolean): Promise<void> {
    await turn()
    while (!done()) {
      const event = events.shift()
      if (event === undefined) return
      if (event.at > until) {
        insert(event)
        now = until
        return
      }
      if (event.cancelled || event.owner?.alive === false) continue
      if (event.owner !== undefined && event.owner.pausedUntil > event.at) {
        event.at = event.owner.pausedUntil
        insert(event)
        continue
      }
      now = event.at
      event.run()
      await turn()
    }
  }

  return {
    get now() {
      return now
    },
    random,
    between: (least, most) => least + Math.floor(random() * (most - least + 1)),
    chance: (probability) => random() < probability,
    after,
    sleep,
    clockOf: (owner, offset) => ({
      now: () => now,
      monotonic: () => now + offset,
      sleep: (ms, signal) => sleep(ms, owner, signal),
    }),
    run,
    waitingFor: (owner) =>
      events.filter((event) => event.owner === owner && !event.cancelled).length,
  }
}
