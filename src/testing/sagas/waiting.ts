import { readPending } from '../../app/sagas/pending.ts'
import type { TimeoutBody } from '../../app/sagas/timeouts.ts'
import type { SagaInstance } from '../../core/records/sagas.ts'
import type { SagaMessage } from './sent.ts'

/** A timeout, and when it is over: monotonic milliseconds. */
export interface Due extends TimeoutBody {
  readonly at: number
}

/** The timeouts that instances wait for. */
export interface Waiting {
  /** Adds what was asked for, and forgets what is no longer wanted. */
  add(asked: readonly SagaMessage[], now: number): void
  /** Takes the first one that is over at this time. */
  next(until: number): Due | undefined
  /** Names, and milliseconds until then. */
  of(key: string, now: number): Readonly<Record<string, number>>
}

export function createWaiting(instances: ReadonlyMap<string, SagaInstance>): Waiting {
  let waiting: readonly Due[] = []
  const isWanted = ({ key, instance, name, number }: Due): boolean => {
    const kept = instances.get(key)
    return kept?.id === instance && readPending(kept).numbers.get(name) === number
  }
  return {
    add(asked, now) {
      const more = asked.map(({ body, options }) => ({
        ...(body as TimeoutBody),
        at: now + (options['delayMs'] as number),
      }))
      waiting = [...waiting, ...more].filter(isWanted).toSorted((a, b) => a.at - b.at)
    },
    next(until) {
      const [first] = waiting
      if (first === undefined || first.at > until) return undefined
      waiting = waiting.slice(1)
      return first
    },
    of: (key, now) =>
      Object.fromEntries(
        waiting.filter((due) => due.key === key).map(({ name, at }) => [name, at - now]),
      ),
  }
}
