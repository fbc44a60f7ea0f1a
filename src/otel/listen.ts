import { tracingChannel } from 'node:diagnostics_channel'
import { diag } from '@opentelemetry/api'
import type { OperationName, Operations } from '../core/traced.ts'

/** What is done at the beginning of an operation, and at its end with what the beginning made. */
export interface Listener<Name extends OperationName, State> {
  readonly start: (facts: Operations[Name]) => State
  readonly end: (facts: Operations[Name], state: State) => void
}

function nothing(): void {}

/**
 * Listens to an operation of these apps, until it is disposed of; what has begun then is still
 * ended. What the SDK throws goes to the diagnostics of OpenTelemetry and nowhere else: out of a
 * channel it would end the process.
 */
export function listen<Name extends OperationName, State>(
  name: Name,
  isWatched: (app: string) => boolean,
  { start, end }: Listener<Name, State>,
): Disposable {
  const states = new WeakMap<object, { readonly state: State }>()
  const channel = tracingChannel<object>(`mersal:${name}`)
  let open = 0
  let disposed = false
  const safely = (work: () => void): void => {
    try {
      work()
    } catch (thrown) {
      diag.error(`mersal/otel: listening to ${name} failed`, thrown)
    }
  }
  const subscribers = {
    start(given: object): void {
      const facts = given as Operations[Name]
      if (disposed || !isWatched(facts.app)) return
      safely(() => {
        states.set(facts, { state: start(facts) })
        open++
      })
    },
    end: nothing,
    asyncStart: nothing,
    asyncEnd(given: object): void {
      const begun = states.get(given)
      if (begun === undefined) return
      states.delete(given)
      open--
      safely(() => end(given as Operations[Name], begun.state))
      unsubscribe()
    },
    error: nothing,
  }
  const unsubscribe = (): void => {
    if (disposed && open === 0) channel.unsubscribe(subscribers)
  }
  channel.subscribe(subscribers)
  return {
    [Symbol.dispose]() {
      disposed = true
      unsubscribe()
    },
  }
}

/** Disposes of all of them. */
export function together(all: readonly Disposable[]): Disposable {
  return {
    [Symbol.dispose]() {
      for (const one of all) one[Symbol.dispose]()
    },
  }
}
