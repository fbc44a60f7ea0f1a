import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Events } from '../../../src/core/telemetry.ts'

type Published = Events['mersal:publish'] & { readonly at: number }

/** What the relay of one app says about its publishes, from the diagnostics channel. */
export interface Record extends Disposable {
  /** Begins anew, with the next fault. */
  clear(): void
  readonly all: readonly Published[]
  count(outcome: string, since?: number): number
  /** Time of the first confirm after this moment, or Infinity. */
  firstConfirmAfter(at: number): number
  /** Answers of this kind that one message got. */
  of(id: string, outcome: string): number
  /** Refusals that were charged: the attempts above the first, over all messages. */
  attemptsCharged(): number
}

export function recordOf(app: string): Record {
  let all: Published[] = []
  const onPublish = (event: unknown): void => {
    const published = event as Events['mersal:publish']
    if (published.app === app) all.push({ ...published, at: performance.now() })
  }
  subscribe('mersal:publish', onPublish)
  return {
    clear() {
      all = []
    },
    get all() {
      return all
    },
    count: (outcome, since = 0) =>
      all.filter((each) => each.outcome === outcome && each.at >= since).length,
    firstConfirmAfter: (at) =>
      all.find((each) => each.outcome === 'confirmed' && each.at > at)?.at ??
      Number.POSITIVE_INFINITY,
    of: (id, outcome) => all.filter((each) => each.id === id && each.outcome === outcome).length,
    attemptsCharged() {
      const highest = new Map<string, number>()
      for (const { id, attempt } of all) highest.set(id, Math.max(attempt, highest.get(id) ?? 1))
      return [...highest.values()].reduce((sum, attempt) => sum + attempt - 1, 0)
    },
    [Symbol.dispose]: () => void unsubscribe('mersal:publish', onPublish),
  }
}
