import { tracingChannel } from 'node:diagnostics_channel'
import type { Operations } from '../core/traced.ts'

/** Knows how long the databases of relays have owed an answer. */
export interface Silence extends Disposable {
  /**
   * Milliseconds since the first call without an answer, or with a failure, after the last claim
   * that was answered; 0 if there is none. Undefined: no claim was ever answered.
   *
   * The time since the last claim says nothing: a relay whose hands are full of what a broker has
   * not answered claims nothing, and its database is well.
   */
  silentMs(app: string): number | undefined
}

const asked = ['claim', 'settle'] as const
type Asked = (typeof asked)[number]

function nothing(): void {}

export function watchSilence(monotonic: () => number): Silence {
  const answered = new Set<string>()
  const since = { claim: new Map<string, number>(), settle: new Map<string, number>() }
  const undo = asked.map((name) => {
    const subscribers = {
      start(given: object): void {
        const { app } = given as Operations[Asked]
        if (!since[name].has(app)) since[name].set(app, monotonic())
      },
      end: nothing,
      asyncStart: nothing,
      asyncEnd(given: object): void {
        const { app, error } = given as Operations[Asked]
        if (error !== undefined) return
        since[name].delete(app)
        if (name === 'settle') return
        // A settlement that is refused again and again says nothing of the database.
        since.settle.delete(app)
        answered.add(app)
      },
      error: nothing,
    }
    const channel = tracingChannel<object>(`mersal:${name}`)
    channel.subscribe(subscribers)
    return () => channel.unsubscribe(subscribers)
  })
  return {
    silentMs(app) {
      if (!answered.has(app)) return undefined
      const now = monotonic()
      return Math.max(0, ...asked.map((name) => now - (since[name].get(app) ?? now)))
    },
    [Symbol.dispose]() {
      for (const one of undo) one()
    },
  }
}
